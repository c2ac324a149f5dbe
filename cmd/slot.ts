// Placeholder until the slot is written.
import { MeshError } from "../core/errors.ts";

export function main(_args: string[]): Promise<number> {
  throw new MeshError("USAGE", "mesh slot is not there yet");
}
