// A TCP port of this machine that accepts plain connections.
import { createServer, type Server, type Socket } from "node:net";
import { MeshError } from "../errors.ts";
import type { PortRange } from "./udp-port.ts";

/** Listens on the first free port of the range, or any. Throws FULL when all are taken, UNREACHABLE for the address. */
export async function listenTcp(
  host: string | undefined,
  range: PortRange | undefined,
  accept: (socket: Socket) => void,
): Promise<{ port: number; close(): void }> {
  const [from, to] = range ?? [0, 0];
  for (let port = from; port <= to; port++) {
    const server = await onAnyFamily(host, port, accept);
    if (server) return { port: (server.address() as { port: number }).port, close: () => void server.close() };
  }
  const what = `all TCP ports from ${from} to ${to} are in use`;
  throw new MeshError("FULL", `${what}: give the rendezvous more of them, or end what else uses them`);
}

/** Undefined when the port is taken. */
async function onAnyFamily(host: string | undefined, port: number, accept: (socket: Socket) => void) {
  try {
    if (host !== undefined) return await listen(host, port, accept);
    return await listen("::", port, accept).catch((error) => {
      if (isTaken(error)) throw error;
      return listen("0.0.0.0", port, accept); // without IPv6
    });
  } catch (cause) {
    if (isTaken(cause)) return undefined;
    const where = `TCP port ${port} of ${host ?? "this machine"}`;
    throw new MeshError("UNREACHABLE", `${where} cannot be bound: ${(cause as Error).message}`, { cause });
  }
}

function listen(host: string, port: number, accept: (socket: Socket) => void): Promise<Server> {
  const { promise, resolve, reject } = Promise.withResolvers<Server>();
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, accept);
  server.once("error", reject);
  server.listen({ host, port }, () => {
    server.on("error", () => {}); // of one connection that could not be accepted
    resolve(server);
  });
  return promise;
}

function isTaken(error: unknown): boolean {
  return (error as { code?: string }).code === "EADDRINUSE";
}
