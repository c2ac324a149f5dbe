// How jobs are told of, in tables and in sentences.
import type { JobRecord, JobState, Progress } from "../../core/coordinator/answers.ts";
import { spanWords } from "../amounts.ts";
import { type Colour, printable } from "../table.ts";

const COLOUR_OF_STATE: Record<JobState, Colour> = {
  running: "green",
  done: "dim",
  failed: "red",
  killed: "yellow",
  lost: "red",
};

const NAMES_SHOWN = 3;

export function colourOfState({ state }: Pick<JobRecord, "state">): Colour {
  return COLOUR_OF_STATE[state];
}

/** "squares 45/100 45% 12.3/s ETA 5s", or nothing when no long call is under way. */
export function progressWords(progress: Progress | null): string {
  if (!progress) return "";
  const { label, done, total, failed = 0, ratePerS } = progress;
  const words = [label];
  if (total === undefined) words.push(`${done} done`);
  else words.push(`${done}/${total}`, `${Math.floor((100 * Math.min(done, total)) / Math.max(1, total))}%`);
  if (ratePerS > 0) words.push(`${ratePerS < 10 ? ratePerS.toFixed(1) : Math.round(ratePerS)}/s`);
  if (ratePerS > 0 && total !== undefined && total > done) words.push(`ETA ${spanWords((total - done) / ratePerS)}`);
  if (failed > 0) words.push(`${failed} failed`);
  return words.join(" ");
}

/** "gpu1,gpu2", or how many when they are many. */
export function nodeNames(names: readonly string[]): string {
  return names.length > NAMES_SHOWN ? `${names.length} nodes` : names.join(",");
}

/** How long it has run, until now or its end. */
export function timeOf({ startedAt, endedAt }: JobRecord, now: number): string {
  return spanWords(((endedAt ?? now) - startedAt) / 1_000);
}

/** "job 7 (primes)". */
export function jobWords({ job, name }: Pick<JobRecord, "job" | "name">): string {
  return `job ${job} (${printable(name)})`;
}

/** "killed, exit status 143: by order of its user". */
export function endWords({ state, exitCode, cause }: Pick<JobRecord, "state" | "exitCode" | "cause">): string {
  const status = exitCode === null || (state === "done" && exitCode === 0) ? "" : `, exit status ${exitCode}`;
  return `${state}${status}${cause === null ? "" : `: ${printable(cause)}`}`;
}

/** "1 job", "3 jobs". */
export function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}
