// `mesh slot`: a process that runs job code for the node that started it. Not for people.

import { MeshError } from "../../core/errors.ts";
import { becomeSubreaper, dieWithParent, preferForOom } from "../../core/worker/libc.ts";
import { startSlot } from "../../core/worker/slot.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";

/** Serves until the script is over or its node is gone; the process then ends by itself. */
export async function main([folder, node, slot, parentPid]: string[]): Promise<number | undefined> {
  if (!folder || !node || !slot || !parentPid)
    throw new MeshError("USAGE", "slots are started by mesh itself, by `mesh run`");
  dieWithParent(Number(parentPid));
  becomeSubreaper();
  preferForOom();
  await startSlot({ folder, node: Number(node), slot: Number(slot), transport: new UnixTransport() });
  return undefined;
}
