// `mesh head`: the node a job's script belongs to. Started by `mesh run` and told where by its arguments. Not for people.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { MeshError } from "../core/errors.ts";
import { Head } from "../core/job/head.ts";
import { Node } from "../core/node/node.ts";
import { Codec } from "../core/wire/codec.ts";
import { MessageType } from "../core/wire/message-types.ts";
import { NODE_SOCKET, nodeAddress, TERMINAL_SLOT, TERMINAL_SOCKET, terminalOf } from "../core/worker/control.ts";
import { becomeSubreaper } from "../core/worker/libc.ts";
import { UnixTransport } from "../transports/unix/unix-transport.ts";
import { ownCommand } from "./own-command.ts";

/** Serves one run in `folder` until its terminal is gone; then nothing of it is left. Never resolves before. */
export async function main([folder, number]: string[]): Promise<number> {
  if (!folder || !number) throw new MeshError("USAGE", "heads are started by mesh itself, by `mesh run`");
  becomeSubreaper();
  const transport = new UnixTransport();
  const node = new Node(nodeAddress(Number(number)), new Codec());
  node.hold();
  const terminal = terminalOf(node.address.node);
  const over = Promise.withResolvers<void>();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => over.resolve());
  const starting: { head?: Head } = {};
  node.onPeerLost = (peer) => {
    if (peer.slot === TERMINAL_SLOT) over.resolve();
    else starting.head?.slotDisconnected(peer);
  };
  await transport.listen(join(folder, NODE_SOCKET), (link) =>
    node.accept(link, (address) => starting.head?.slotConnected(address)),
  );
  const head = new Head({
    node,
    folder,
    slotCommand: ownCommand("slot"),
    output: (output) => node.request(terminal, MessageType.output, output),
    notice: (text) => void node.notify(terminal, MessageType.notice, { text }),
    progress: (state) => void node.notify(terminal, MessageType.progress, state),
    ended: (ended) => void node.notify(terminal, MessageType.jobEnded, ended),
  });
  starting.head = head;
  try {
    node.join(await transport.dial(join(folder, TERMINAL_SOCKET)), terminal);
    await over.promise;
  } finally {
    await head.endAll("its terminal is gone");
    // The terminal's process removes the folder; if it was killed nobody else does.
    rmSync(folder, { recursive: true, force: true });
  }
  return 0;
}
