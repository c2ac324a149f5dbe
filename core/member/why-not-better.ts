// Why a peer is not reached by a better path, in words short enough for every report. Pure.
import { WHY_LIMIT_CHARS } from "../coordinator/path-report.ts";
import type { MeetingOutcome } from "../meeting/meeting.ts";
import { BEST_RANK, PUNCH_RANK, rankOf } from "../session/machine/ladder.ts";
import type { FailedPath } from "../session/whereabouts.ts";

export interface Tried {
  /** Of the path in use. */
  kind: string;
  /** Latest first. */
  failedPaths: readonly Pick<FailedPath, "kind" | "address" | "error">[];
  /** What came of the last meeting; undefined when there was none. */
  meeting: Pick<MeetingOutcome, "words"> | undefined;
}

const ERROR_CHARS = 80;

/** Undefined where no other kind of path would be better. */
export function whyNotBetter({ kind, failedPaths, meeting }: Tried): string | undefined {
  const rank = rankOf(kind);
  if (rank === BEST_RANK) return undefined;
  const better = failedPaths.filter((failed) => rankOf(failed.kind) < rank);
  const hole = rank > PUNCH_RANK && meeting ? [meeting.words] : [];
  const words = [...hole, ...dialsWords(better)].join("; ");
  return cut(words || "no better address of it has been tried from here", WHY_LIMIT_CHARS);
}

function dialsWords([failed, ...others]: Tried["failedPaths"]): string[] {
  if (!failed) return [];
  const { address, error } = failed;
  const reason = error.includes(address) ? error : `${address}: ${error}`;
  return [`${cut(reason, address.length + ERROR_CHARS)}${others.length > 0 ? `, and ${others.length} more` : ""}`];
}

export function cut(text: string, chars: number): string {
  return text.length > chars ? `${text.slice(0, chars - 3)}...` : text;
}
