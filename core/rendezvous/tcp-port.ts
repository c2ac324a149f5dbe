// A TCP port of this machine that accepts plain connections.
import { createServer, type Server, type Socket } from "node:net";
import type { PortRange } from "../config/port-range.ts";
import { allTaken, bindHost, isTaken, notBound } from "./binding.ts";

/** Listens on the first free port of the range, or any. Throws FULL when all are taken, UNREACHABLE for the address. */
export async function listenTcp(
  host: string | undefined,
  range: PortRange | undefined,
  accept: (socket: Socket) => void,
): Promise<{ port: number; close(): void }> {
  const [from, to] = range ?? [0, 0];
  for (let port = from; port <= to; port++) {
    const server = await listenOn(host, port, accept);
    if (server) return { port: (server.address() as { port: number }).port, close: () => void server.close() };
  }
  throw allTaken("TCP", [from, to]);
}

/** Undefined when the port is taken. */
async function listenOn(host: string | undefined, port: number, accept: (socket: Socket) => void) {
  try {
    return await bindHost(host, (address) => listen(address, port, accept));
  } catch (cause) {
    if (isTaken(cause)) return undefined;
    throw notBound("TCP", port, host, cause);
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
