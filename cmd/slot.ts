// `mesh slot`: a process that runs job code for the agent that started it. Not for people.

import { MeshError } from "../core/errors.ts";
import { becomeSubreaper, dieWithParent, preferForOom } from "../core/worker/libc.ts";
import { startSlot } from "../core/worker/slot.ts";
import { UnixTransport } from "../transports/unix/unix-transport.ts";

/** Serves until the script is over or the agent is gone; the process then ends by itself. */
export async function main([folder, slot, agentPid]: string[]): Promise<number | undefined> {
  if (!folder || !slot || !agentPid) throw new MeshError("USAGE", "slots are started by mesh itself, by `mesh run`");
  dieWithParent(Number(agentPid));
  becomeSubreaper();
  preferForOom();
  await startSlot({ folder, slot: Number(slot), transport: new UnixTransport() });
  return undefined;
}
