// Placeholder until connectSsh is there.
import { MeshError } from "../core/errors.ts";
import type { HostChannel } from "../core/tether/host-tether.ts";

export async function connectHost(target: string, _signal: AbortSignal): Promise<HostChannel> {
  throw new MeshError("UNREACHABLE", `no SSH to ${target} yet`);
}
