// What ports have in common, UDP and TCP: which address they are bound to, and what is said when they cannot be.
import type { PortRange } from "../config/port-range.ts";
import { MeshError } from "../errors.ts";

/** `bind` gets that address; without one, all of this machine, of both families where it has both. */
export async function bindHost<T>(host: string | undefined, bind: (host: string) => Promise<T>): Promise<T> {
  if (host !== undefined) return await bind(host);
  return await bind("::").catch((error) => {
    if (isTaken(error)) throw error;
    return bind("0.0.0.0");
  });
}

export function isTaken(error: unknown): boolean {
  return (error as { code?: string }).code === "EADDRINUSE";
}

export function notBound(kind: "UDP" | "TCP", port: number, host: string | undefined, cause: unknown): MeshError {
  const where = `${kind} port ${port} of ${host ?? "this machine"}`;
  return new MeshError("UNREACHABLE", `${where} cannot be bound: ${(cause as Error).message}`, { cause });
}

export function allTaken(kind: "UDP" | "TCP", [from, to]: PortRange): MeshError {
  const what = `all ${kind} ports from ${from} to ${to} are in use`;
  return new MeshError("FULL", `${what}: give the rendezvous more of them, or end what else uses them`);
}
