// `mesh worker`: the agent of a host. So far of this machine, started by `mesh run` and told where by its arguments.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { MeshError } from "../core/errors.ts";
import { Node } from "../core/node/node.ts";
import { Codec } from "../core/wire/codec.ts";
import { Agent } from "../core/worker/agent.ts";
import { AGENT, AGENT_SOCKET, HEAD, HEAD_SOCKET } from "../core/worker/control.ts";
import { becomeSubreaper } from "../core/worker/libc.ts";
import { UnixTransport } from "../transports/unix/unix-transport.ts";
import { ownCommand } from "./own-command.ts";

/** Serves one run in `folder` until its head is gone; then nothing of it is left. Never resolves before. */
export async function main([folder]: string[]): Promise<number> {
  if (!folder) throw new MeshError("USAGE", "this version's agent is started by mesh itself, by `mesh run`");
  becomeSubreaper();
  const transport = new UnixTransport();
  const node = new Node(AGENT, new Codec());
  node.hold();
  const over = Promise.withResolvers<void>();
  node.onPeerLost = (peer) => {
    if (peer.node === HEAD.node) over.resolve();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => over.resolve());
  const starting: { agent?: Agent } = {};
  await transport.listen(join(folder, AGENT_SOCKET), (link) =>
    node.accept(link, (address) => starting.agent?.slotConnected(address)),
  );
  const agent = new Agent({ node, folder, slotCommand: ownCommand("slot") });
  starting.agent = agent;
  try {
    node.join(await transport.dial(join(folder, HEAD_SOCKET)), HEAD);
    await over.promise;
  } finally {
    await agent.endAll("the head of the job is gone");
    // The head removes the folder; if it was killed nobody else does.
    rmSync(folder, { recursive: true, force: true });
  }
  return 0;
}
