// `mesh fork`: a node that a script started beside its head, by `fork()`. Not for people.
import { join } from "node:path";
import { MeshError } from "../../core/errors.ts";
import { filesRoot } from "../../core/files/root.ts";
import { silentLog } from "../../core/log.ts";
import type { JobView } from "../../core/member/job-view.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { NODE_SOCKET, type NodesChanged, nodeAddress } from "../../core/worker/control.ts";
import { becomeSubreaper, dieWithParent } from "../../core/worker/libc.ts";
import { Worker } from "../../core/worker/worker.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { ownCommand } from "../own-command.ts";
import { endSignal, listenForSlots, newNode } from "./node-process.ts";

/** Serves the job of the head in `headFolder` until that is gone. */
export async function main([folder, headFolder, head, number, name, parentPid]: string[]): Promise<number> {
  if (!folder || !headFolder || !name || !parentPid) throw new MeshError("USAGE", "mesh starts this itself, by fork()");
  dieWithParent(Number(parentPid));
  becomeSubreaper();
  const unix = new UnixTransport();
  const node = newNode(Number(number));
  const over = Promise.withResolvers<string>();
  void endSignal().then((signal) => over.resolve(signal));
  let known: JobView = { hosts: [], nodes: [] };
  const worker = new Worker({
    node,
    folder,
    slotCommand: ownCommand("slot"),
    name,
    slotMemoryBytes: undefined,
    view: () => known,
    log: silentLog,
    files: { root: filesRoot(name) },
  });
  node.handle(MessageType.nodesChanged, ({ payload }) => {
    const change = node.codec.decode(payload) as NodesChanged;
    known = change;
    worker.nodesChanged(change);
  });
  node.onPeerLost = (peer, error) => {
    worker.peerLost(peer, error);
    if (peer.node !== node.address.node) over.resolve("its head is gone");
  };
  await listenForSlots(node, unix, folder, (slot) => worker.slotConnected(slot));
  node.join(await unix.dial(join(headFolder, NODE_SOCKET)), nodeAddress(Number(head)), true);
  await worker.closeAll(await over.promise);
  return 0;
}
