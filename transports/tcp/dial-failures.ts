// Errors of dialing: what was tried, on which addresses, and why each failed.
import { MeshError } from "../../core/errors.ts";
import type { Tried } from "../dial-race.ts";
import { certificateRefusal, codeOf, failureWords, isOwnFault } from "./failures.ts";

/** All addresses failed. The cause is the error that tells most, so that its code can be asked for. */
export function unreachable(address: string, tried: readonly Tried[]): MeshError {
  const best = tried.toSorted((a, b) => weight(b.error) - weight(a.error))[0];
  const words = wordsOf(address, tried);
  const options = { cause: best?.error };
  if (isOwnFault(best?.error)) return new MeshError("AUTHENTICATION", `cannot dial ${address}: ${words}`, options);
  if (certificateRefusal(best?.error)) {
    return new MeshError("AUTHENTICATION", `no trust in what answers at ${address}: ${words}`, options);
  }
  return new MeshError("UNREACHABLE", `cannot reach ${address}: ${words}; ${adviceFor(best?.error)}`, options);
}

export function lateFailure(address: string, timeoutMs: number, tried: readonly Tried[]): MeshError {
  const words = tried.length > 0 ? wordsOf(address, tried) : "the name was not resolved in that time";
  const advice = "check the address, and that no firewall swallows what is sent to that port";
  return new MeshError("TIMEOUT", `${address} did not answer within ${timeoutMs} ms: ${words}; ${advice}`);
}

export function unknownName(address: string, host: string, error: unknown): MeshError {
  const isUnknown = ["ENOTFOUND", "ENODATA", "DNS_ENOTFOUND", "DNS_ENODATA"].includes(codeOf(error));
  const why = isUnknown
    ? `this machine knows no address for ${host}`
    : `${host} was not resolved (${failureWords(error)})`;
  const advice = "check the spelling, or write the IP address";
  return new MeshError("UNREACHABLE", `cannot reach ${address}: ${why}; ${advice}`, { cause: error });
}

/** What an address without a name led to is what it says itself. */
function wordsOf(address: string, tried: readonly Tried[]): string {
  const whyOf = ({ error }: Tried) => (error === undefined ? "no answer" : failureWords(error));
  return tried.map((one) => (one.at === address ? whyOf(one) : `${one.at}: ${whyOf(one)}`)).join("; ");
}

/** What was said by something that listens tells more than that nothing listens, and that more than a missing route. */
function weight(error: unknown): number {
  if (certificateRefusal(error)) return 3;
  if (codeOf(error) === "ECONNREFUSED") return 1;
  return ["ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT"].includes(codeOf(error)) ? 0 : 2;
}

function adviceFor(error: unknown): string {
  switch (codeOf(error)) {
    case "ECONNREFUSED":
      return "is mesh running there (mesh coordinator, mesh worker), and is the port right?";
    case "ECONNRESET":
      return "it may be under load and refuse for a moment: try again";
    case "EPROTO":
      return "check the port: something other than mesh listens there";
    default:
      return "check the address and the network";
  }
}
