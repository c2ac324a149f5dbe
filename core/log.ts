// What roles that run for long tell their owner: one line for each thing that happened, for people and for programs.
import type { Clock } from "./clock.ts";

export type LogLevel = "info" | "warn" | "error";
/** What a line is about; values become text. */
export type LogFields = Record<string, string | number | boolean | undefined>;

export interface Log {
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/** Lines as logfmt: `2026-01-02T03:04:05.678Z info job opened job=7 script=/a/b.ts`. */
export function lineLog(write: (line: string) => void, now: () => Date): Log {
  const log =
    (level: LogLevel) =>
    (event: string, fields: LogFields = {}) => {
      const words = Object.entries(fields).flatMap(([key, value]) =>
        value === undefined ? [] : `${key}=${quoted(value)}`,
      );
      write(`${[now().toISOString(), level, event, ...words].join(" ")}\n`);
    };
  return { info: log("info"), warn: log("warn"), error: log("error") };
}

/** Of roles whose user sees what happens elsewhere. */
export const silentLog: Log = { info: () => {}, warn: () => {}, error: () => {} };

function quoted(value: string | number | boolean): string {
  const text = String(value);
  return /^[^\s"=\p{Cc}]+$/u.test(text) ? text : JSON.stringify(text);
}

const WINDOW_MS = 60_000;

/**
 * A log that takes at most `most` warnings of each event in a minute: what others cause from outside must not fill a disk.
 * The next one after that says in `leftOut` how many there were.
 */
export function sparingLog(log: Log, clock: Clock, most = 60): Log {
  const counts = new Map<string, { from: number; count: number }>();
  const warn = (event: string, fields?: LogFields) => {
    const now = clock.now();
    const last = counts.get(event);
    if (last && now - last.from < WINDOW_MS) {
      if (++last.count <= most) log.warn(event, fields);
      return;
    }
    counts.set(event, { from: now, count: 1 });
    const leftOut = Math.max(0, (last?.count ?? 0) - most);
    log.warn(event, leftOut > 0 ? { ...fields, leftOut } : fields);
  };
  return { info: log.info, warn, error: log.error };
}
