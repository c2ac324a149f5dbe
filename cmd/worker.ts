// Placeholder until the worker is written.
import { MeshError } from "../core/errors.ts";

export function main(_args: string[]): Promise<number> {
  throw new MeshError("USAGE", "mesh worker is not there yet");
}
