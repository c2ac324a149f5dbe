// What the system and TLS say when a connection fails, in words that help.
import { MeshError } from "../../core/errors.ts";

/** Codes of a certificate that does not hold, as BoringSSL and Bun name them, and what each means. */
const CERTIFICATE_WORDS: Record<string, string> = {
  CERT_HAS_EXPIRED: "has expired: it was not renewed in time, or a clock is wrong (compare `date` on both machines)",
  CERT_NOT_YET_VALID: "is not valid yet: a clock is wrong (compare `date` on both machines)",
  CERT_REVOKED: "was revoked",
  ERR_TLS_CERT_ALTNAME_INVALID: "is not that of a node of a mesh: something else answers there",
  HOSTNAME_MISMATCH: "is not that of a node of a mesh: something else answers there",
  INVALID_PURPOSE: "may not be used for this: it is not that of a node of a mesh",
};
const OTHER_MESH =
  "was not signed by a CA this side trusts: it belongs to another mesh, or its CA was replaced (join again with a new token)";
for (const code of [
  "CERT_SIGNATURE_FAILURE",
  "CERT_CHAIN_TOO_LONG",
  "CERT_UNTRUSTED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "INVALID_CA",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]) {
  CERTIFICATE_WORDS[code] = OTHER_MESH;
}

/** Alerts and errors of BoringSSL (parts of its texts) that mean that a certificate was missing or not accepted. */
const REFUSALS: readonly [part: string, words: string][] = [
  ["PEER_DID_NOT_RETURN_A_CERTIFICATE", "it showed no certificate: let it join with a token first"],
  [
    "ALERT_CERTIFICATE_REQUIRED",
    "the other side asks for a certificate, and this one has none: join with a token first",
  ],
  ["ALERT_CERTIFICATE_EXPIRED", "the other side says that this side's certificate has expired"],
  ["ALERT_CERTIFICATE_REVOKED", "the other side says that this side's certificate was revoked"],
  ["ALERT_UNKNOWN_CA", "the other side does not trust the CA of this side's certificate: it belongs to another mesh"],
  ["ALERT_BAD_CERTIFICATE", "the other side does not accept this side's certificate"],
  ["ALERT_CERTIFICATE_UNKNOWN", "the other side does not accept this side's certificate"],
  ["ALERT_ACCESS_DENIED", "the other side does not accept this side's certificate"],
];

const SYSTEM_WORDS: Record<string, string> = {
  ECONNREFUSED: "refused: nothing listens there",
  ECONNRESET: "closed by the other side before TLS had ended",
  EHOSTUNREACH: "no route to it",
  ENETUNREACH: "no route to it",
  EADDRNOTAVAIL: "no address of this machine reaches it",
  ENOTCONN: "no connection: nothing listens there, or no route leads there",
  EAFNOSUPPORT: "this machine has no addresses of that kind",
  ETIMEDOUT: "no answer",
  EACCES: "forbidden by a rule of this machine",
  EPERM: "forbidden by a rule of this machine",
  EMFILE: "this process has too many files and sockets open (ulimit -n)",
  ENFILE: "this machine has too many files and sockets open",
};

/** What the error of a socket or of TLS carries beside its text. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}

/** Why TLS did not accept a certificate, on either side; undefined when something else went wrong. */
export function certificateRefusal(error: unknown): string | undefined {
  const words = CERTIFICATE_WORDS[codeOf(error)];
  if (words) return `its certificate ${words}`;
  const text = error instanceof Error ? error.message : "";
  return REFUSALS.find(([part]) => text.includes(part))?.[1];
}

/** Whether this side's credentials cannot even be read. */
export function isOwnFault(error: unknown): boolean {
  const code = codeOf(error);
  return code === "ERR_BORINGSSL" || code.startsWith("ERR_OSSL");
}

/** One failed attempt, in a few words. */
export function failureWords(error: unknown): string {
  const code = codeOf(error);
  const refusal = certificateRefusal(error);
  if (refusal) return refusal;
  if (isOwnFault(error)) return `this side's own certificate, key or CA cannot be used (${(error as Error).message})`;
  if (code === "EPROTO") return "what answers there does not speak TLS 1.3";
  return SYSTEM_WORDS[code] ?? (error instanceof Error ? error.message : String(error));
}

/** What the error of an open link means: AUTHENTICATION when the other side did not accept our certificate after all. */
export function linkFailure(label: string, error: Error, hasHeard: boolean): MeshError {
  const refusal = certificateRefusal(error);
  if (refusal) return new MeshError("AUTHENTICATION", `${label}: ${refusal}`, { cause: error });
  return new MeshError("LINK_CLOSED", `${label}: ${linkWords(error, hasHeard)}`, { cause: error });
}

function linkWords(error: Error, hasHeard: boolean): string {
  if (codeOf(error) !== "ECONNRESET") return error.message;
  if (hasHeard) return "the other side broke the connection";
  // In TLS 1.3 the side that dials is done before the other has looked at its certificate; Bun sends no alert then.
  return "the other side broke the connection before it said anything: it may not accept this side's certificate (expired, of another mesh, or a clock is wrong)";
}

/** Why a port cannot be had. */
export function listenFailure(address: string, error: unknown): MeshError {
  const code = codeOf(error);
  const why =
    code === "EADDRINUSE"
      ? "the port is taken: stop what listens there, or use another one (0 for any free one)"
      : code === "EADDRNOTAVAIL"
        ? "this machine has no such address: use one of its own, or [::] for all"
        : code === "EACCES"
          ? "ports below 1024 need more rights: use a higher one"
          : (error as Error).message;
  return new MeshError("UNREACHABLE", `cannot listen on ${address}: ${why}`, { cause: error });
}
