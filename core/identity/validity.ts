// The times of certificates, and what is said when a clock disagrees with them.
import { MeshError } from "../errors.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/**
 * Every certificate begins so long before it was issued, for machines whose clock is behind. Part of the protocol: the
 * moment of issue is read back from a certificate with it.
 */
export const BACKDATE_MS = DAY_MS;

/** How long a node's certificate is valid from its issue on, when nobody says otherwise. */
export const DEFAULT_VALIDITY_MS = 90 * DAY_MS;

/** No node's certificate is issued for longer. */
export const LONGEST_VALIDITY_MS = 366 * DAY_MS;

/** How long the certificate of a CA is valid. */
export const CA_VALIDITY_MS = 3650 * DAY_MS;

/** In milliseconds since 1970; whole seconds. */
export interface Validity {
  notBefore: number;
  notAfter: number;
}

/** When a certificate was issued, to the second. */
export function issuedAt(notBefore: number): number {
  return notBefore + BACKDATE_MS;
}

/** A time for people: "2026-11-24T15:16:45Z". */
export function timeWords(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** Throws AUTHENTICATION, naming the clock, unless `nowMs` lies within `validity`; `renew` says how to get a new one. */
export function checkValidity(what: string, validity: Validity, nowMs: number, renew: string): void {
  const { notBefore, notAfter } = validity;
  if (nowMs >= notBefore && nowMs <= notAfter) return;
  const span = `${what} is valid from ${timeWords(notBefore)} to ${timeWords(notAfter)}`;
  const clock = `this machine's clock says ${timeWords(nowMs)}`;
  const set = "set the clock (timedatectl set-ntp true)";
  const advice = nowMs < notBefore ? `: ${set}` : `: if the clock is wrong, ${set}; if it is right, ${renew}`;
  throw new MeshError("AUTHENTICATION", `${span}, and ${clock}${advice}`);
}
