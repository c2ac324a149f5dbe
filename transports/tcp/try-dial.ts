// Whether an address can be connected to at all, without saying a word there: for `mesh doctor`.
import { connect } from "node:net";
import type { DialOutcome } from "../../core/provider.ts";
import { systemResolve } from "../resolve.ts";
import { parseTcpAddress, type TcpAddress } from "./address.ts";
import { codeOf } from "./failures.ts";
import { canConnectBySystem, closeDescriptor } from "./libc.ts";
import { SystemConnection } from "./system-connect.ts";

/** Connects to each address of the name at once; the first one counts, else the failure of the best. Never rejects. */
export async function tryDialTcp(address: string, timeoutMs: number): Promise<DialOutcome> {
  const begin = performance.now();
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(), timeoutMs);
  try {
    const { host, port } = parseTcpAddress(address);
    const found = await Promise.race([systemResolve(host), aborted(over.signal)]);
    await Promise.any(found.map((each) => connected({ host: each, port }, over.signal)));
    return { address, tookMs: performance.now() - begin };
  } catch (error) {
    const codes = (error instanceof AggregateError ? error.errors : [error]).map(codeOf);
    // Of several addresses, one that refuses tells most: there is a host.
    return { address, code: codes.find((code) => code === "ECONNREFUSED") ?? (codes[0] || "EUNKNOWN") };
  } finally {
    clearTimeout(timer);
    over.abort();
  }
}

function connected(target: TcpAddress, signal: AbortSignal): Promise<void> {
  return canConnectBySystem() ? connectedBySystem(target, signal) : connectedByRuntime(target, signal);
}

async function connectedBySystem(target: TcpAddress, signal: AbortSignal): Promise<void> {
  const connection = new SystemConnection(target);
  connection.descriptor.catch(() => {}); // it may fail after its time
  try {
    closeDescriptor(await Promise.race([connection.descriptor, aborted(signal)]));
  } catch (error) {
    connection.cancel();
    throw error;
  }
}

function connectedByRuntime({ host, port }: TcpAddress, signal: AbortSignal): Promise<void> {
  const socket = connect({ host, port });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once("connect", resolve).once("error", (error) => reject(new Error(error.message))); // its code is no proof
  return Promise.race([promise, aborted(signal)]).finally(() => socket.destroy());
}

/** Rejects when time is up. */
function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(Object.assign(new Error("no answer"), { code: "ETIMEDOUT" })));
  promise.catch(() => {});
  return promise;
}
