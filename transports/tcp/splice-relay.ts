// A node's side of a relay by TCP that the other side dials through: what comes out of it goes to a listener of this node.
import { connect, type Socket } from "node:net";
import { MeshError } from "../../core/errors.ts";
import { splice } from "../../core/tether/splice.ts";
import type { MeshTransport } from "../../core/transport.ts";
import { formatTcpAddress, parseTcpAddress, type TcpAddress } from "./address.ts";
import { codeOf, failureWords } from "./failures.ts";
import { KEEP_ALIVE_AFTER_MS } from "./socket.ts";

const CONNECT_LIMIT_MS = 5_000;

export const spliceRelay: MeshTransport["spliceRelay"] = async ({ relay, token, to, signal }) => {
  const target = parseTcpAddress(`tcp://${relay}`);
  const listener = onLoopback(parseTcpAddress(to));
  const both: Socket[] = [];
  const end = () => {
    for (const socket of both) socket.destroy();
  };
  signal.addEventListener("abort", end, { once: true });
  const open = (at: TcpAddress) => {
    const socket = connect({ ...at, allowHalfOpen: true, noDelay: true, keepAlive: true });
    socket.setKeepAlive(true, KEEP_ALIVE_AFTER_MS);
    both.push(socket);
    return connected(socket, at, signal);
  };
  try {
    const outer = await open(target);
    outer.write(token);
    // A listener waits for a few seconds only: it hears of nobody before somebody speaks.
    if (await hasSpoken(outer)) await splice(outer, await open(listener));
  } finally {
    signal.removeEventListener("abort", end);
    end();
  }
};

/** What listens on all addresses listens there. */
function onLoopback({ host, port }: TcpAddress): TcpAddress {
  return { host: { "::": "::1", "0.0.0.0": "127.0.0.1" }[host] ?? host, port };
}

async function connected(socket: Socket, at: TcpAddress, signal: AbortSignal): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const late = () => socket.destroy(Object.assign(new Error("no answer"), { code: "ETIMEDOUT" }));
  const timer = setTimeout(late, CONNECT_LIMIT_MS);
  socket.once("connect", () => resolve(socket));
  socket.on("error", (error) => reject(unreachable(at, error)));
  socket.once("close", () => reject(new MeshError("CANCELLED", "the relay is not needed any longer")));
  if (signal.aborted) socket.destroy();
  return await promise.finally(() => clearTimeout(timer));
}

/** Resolves with false when it ended before. */
function hasSpoken(socket: Socket): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.once("readable", () => resolve(socket.readableLength > 0));
  socket.once("close", () => resolve(false));
  return promise;
}

function unreachable(at: TcpAddress, error: Error): MeshError {
  const why = failureWords(error);
  return new MeshError("UNREACHABLE", `${formatTcpAddress(at)} was not reached for a relay: ${why || codeOf(error)}`, {
    cause: error,
  });
}
