// Amounts as people read them, and as they write them where core/config/units.ts does not go: all of it ASCII.
import { parseDuration } from "../core/config/units.ts";
import { MeshError } from "../core/errors.ts";

const DAY_MS = 86_400_000;
const LONGEST_GRACE_MS = 3_600_000;
const YEARS_DAYS = 3_660;

/** A span of time in one or two units: "7s", "2m05s", "3h20m", "5d". Parts of a second count as one. */
export function spanWords(seconds: number): string {
  const s = Math.max(0, Math.ceil(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3_600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
  if (s < 360_000) return `${Math.floor(s / 3_600)}h${two(Math.floor(s / 60) % 60)}m`;
  return `${Math.floor(s / 86_400)}d`;
}

/** A round trip: "0.42ms", "12.3ms", "1.20s". */
export function roundTripWords(ms: number): string {
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(2)}s`;
  return ms < 10 ? `${ms.toFixed(2)}ms` : `${ms.toFixed(1)}ms`;
}

/** Bytes in units of 1024, as `parseSize` reads them: "900B", "5.1G". */
export function bytesWords(bytes: number): string {
  if (bytes < 1_024) return `${Math.round(bytes)}B`;
  let [size, unit] = [bytes, -1];
  // 1023.95 would be written as 1024.0.
  while (size >= 1_023.95 && unit < 3) [size, unit] = [size / 1_024, unit + 1];
  return `${size.toFixed(1)}${"KMGT"[unit]}`;
}

/** A moment, ms since 1970, in the zone of this machine: "2026-01-02 15:04:05". */
export function momentWords(ms: number): string {
  const at = new Date(ms);
  const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
  return `${day} ${[at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":")}`;
}

/** As `parseDuration`, from "0" to an hour. Throws USAGE. */
export function parseGrace(text: string): number {
  const ms = parseSpan(text);
  if (ms <= LONGEST_GRACE_MS) return ms;
  throw new MeshError("USAGE", `expected at most 1h, got ${text}`);
}

/** As `parseDuration`, and "0", and whole days up to ten years, which no timer waits for. Throws USAGE. */
export function parseOverlap(text: string): number {
  const days = /^(\d{1,5})d$/.exec(text.trim())?.[1];
  if (days === undefined) return parseSpan(text);
  if (Number(days) > YEARS_DAYS) throw new MeshError("USAGE", `expected at most ${YEARS_DAYS}d, got ${days}d`);
  return Number(days) * DAY_MS;
}

function parseSpan(text: string): number {
  return /^0(ms|s)?$/.test(text.trim()) ? 0 : parseDuration(text);
}

function two(n: number): string {
  return String(n).padStart(2, "0");
}
