// What QUIC and the system say when a connection or a port cannot be had, in words that help.
import { MeshError } from "../../core/errors.ts";
import type { Tried } from "../dial-race.ts";
import { isUntold } from "./quic.ts";

/** RFC 9000, section 20.1. */
const CONNECTION_REFUSED = 2;
/** TLS alerts are 0x100 and their number; this one: no_application_protocol. */
const NO_PROTOCOL = 0x178;

const SYSTEM_WORDS: Record<string, string> = {
  ECONNREFUSED: "refused: nothing listens there",
  EHOSTUNREACH: "no route to it",
  ENETUNREACH: "no route to it",
  EADDRNOTAVAIL: "no address of this machine reaches it",
  EINVAL: "no address of this machine reaches it",
  EACCES: "forbidden by a rule of this machine",
  EPERM: "forbidden by a rule of this machine",
};

const NOT_TRUSTED =
  "its certificate does not hold: it belongs to another mesh, its CA was replaced (join again with a new token), it has expired, or a clock is wrong (compare `date` on both machines)";

/** All addresses failed. */
export function unreachable(address: string, tried: readonly Tried[]): MeshError {
  const words = wordsOf(address, tried);
  const untrusted = tried.find(({ error }) => isUntold(error));
  if (untrusted) {
    const options = { cause: untrusted.error };
    return new MeshError("AUTHENTICATION", `no trust in what answers at ${address}: ${words}`, options);
  }
  const cause = tried[0]?.error;
  const advice =
    codeOf(cause) === "ECONNREFUSED"
      ? "is mesh running there, and listening on UDP at that port?"
      : "check the address and the network";
  return new MeshError("UNREACHABLE", `cannot reach ${address}: ${words}; ${advice}`, { cause });
}

export function lateFailure(address: string, timeoutMs: number, tried: readonly Tried[]): MeshError {
  const words = tried.length > 0 ? wordsOf(address, tried) : "the name was not resolved in that time";
  const advice = "check the address, and that no firewall or router drops UDP to that port";
  return new MeshError("TIMEOUT", `${address} did not answer within ${timeoutMs} ms: ${words}; ${advice}`);
}

export function unknownName(address: string, host: string, cause: unknown): MeshError {
  const why = `${host} was not resolved (${codeOf(cause) || (cause as Error).message})`;
  const advice = "check the spelling, or write the IP address";
  return new MeshError("UNREACHABLE", `cannot reach ${address}: ${why}; ${advice}`, { cause });
}

/** By the system's code. */
export function listenFailure(address: string, error: unknown): MeshError {
  const { message } = error as Error;
  const words: Record<string, string> = {
    EADDRINUSE: "the port is taken: stop what listens there, or use another one (0 for any free one)",
    EADDRNOTAVAIL: "this machine has no such address: use one of its own, or [::] for all",
    EACCES: "ports below 1024 need more rights: use a higher one",
  };
  const why = words[codeOf(error)] ?? message;
  return new MeshError("UNREACHABLE", `cannot listen on ${address}: ${why}`, { cause: error });
}

/** What an address without a name led to is what it says itself. */
function wordsOf(address: string, tried: readonly Tried[]): string {
  const whyOf = ({ error }: Tried) => (error === undefined ? "no answer" : failureWords(error));
  return tried.map((one) => (one.at === address ? whyOf(one) : `${one.at}: ${whyOf(one)}`)).join("; ");
}

function failureWords(error: unknown): string {
  if (isUntold(error)) return NOT_TRUSTED;
  const quicCode = Number((error as { errorCode?: bigint }).errorCode ?? -1);
  if (quicCode === CONNECTION_REFUSED) return "refused: it takes no more connections";
  if (quicCode === NO_PROTOCOL) return "what answers there is not mesh, or of another version";
  return SYSTEM_WORDS[codeOf(error)] ?? (error instanceof Error ? error.message : String(error));
}

export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}
