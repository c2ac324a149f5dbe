// Amounts as people write them, "512M" and "10s", turned into bytes and milliseconds.
import { MeshError } from "../errors.ts";

const SIZE_UNITS: Record<string, number> = { B: 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const DURATION_UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The largest amount of memory `parseSize` takes. */
export const SIZE_LIMIT_BYTES = 2 ** 50;
/** The longest time `parseDuration` takes: 24.8 days, past which a JavaScript timer fires at once (2^31 - 1 ms). */
export const DURATION_LIMIT_MS = 2 ** 31 - 1;

export const SIZE_WORDS = 'a size such as "512M" or "1.5G" (units K, M, G, T, each 1024 times the one before)';
export const DURATION_WORDS = 'a time such as "500ms", "10s", "5m" or "1h30m" (units ms, s, m, h, d)';

/**
 * Turns "512M", "1.5G", "64MiB" or "200KB" into bytes. K, M, G and T are powers of 1024, however they are spelled.
 * From 1 byte to 1024 T; rounds to whole bytes. Throws USAGE, also for a number without its unit.
 */
export function parseSize(text: string): number {
  const [, digits, unit] = /^(\d{1,16}(?:\.\d{1,9})?) *(B|[KMGT](?:i?B)?)$/i.exec(text.trim()) ?? [];
  const bytes = Math.round(Number(digits) * (SIZE_UNITS[unit?.[0]?.toUpperCase() ?? ""] ?? Number.NaN));
  if (bytes >= 1 && bytes <= SIZE_LIMIT_BYTES) return bytes;
  throw new MeshError("USAGE", `expected ${SIZE_WORDS}, got ${quote(text)}`);
}

/**
 * Turns "500ms", "10s", "1.5h" or "1h30m" into milliseconds.
 * From 1 ms to 24.8 days (2^31 - 1 ms); rounds to whole milliseconds. Throws USAGE, also for a number without its unit.
 */
export function parseDuration(text: string): number {
  const parts = /^(?:\d{1,12}(?:\.\d{1,9})?(?:ms|s|m|h|d) *){1,5}$/.test(text.trim())
    ? [...text.matchAll(/([\d.]+)(ms|s|m|h|d)/g)]
    : [];
  const ms = Math.round(parts.reduce((sum, [, digits, unit]) => sum + Number(digits) * DURATION_UNITS[unit!]!, 0));
  if (ms >= 1 && ms <= DURATION_LIMIT_MS) return ms;
  throw new MeshError("USAGE", `expected ${DURATION_WORDS}, up to 24 days, got ${quote(text)}`);
}

function quote(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}
