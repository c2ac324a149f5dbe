// Why a peer is not reached by a better path, in words short enough for every report. Pure.
import { WHY_LIMIT_CHARS } from "../coordinator/path-report.ts";
import { hostOf, isLoopback } from "../ip-address.ts";
import type { MeetingOutcome } from "../meeting/meeting.ts";
import { PUNCH_RANK, rankOf, STRAIGHT_RANK } from "../session/machine/ladder.ts";
import type { FailedPath } from "../session/whereabouts.ts";

export interface Tried {
  /** Of the path in use. */
  kind: string;
  /** Latest first. */
  failedPaths: readonly Pick<FailedPath, "kind" | "address" | "error">[];
  /** What came of the last meeting; undefined when there was none. */
  meeting: Pick<MeetingOutcome, "words" | "ownMapping" | "theirMapping"> | undefined;
}

const ERROR_CHARS = 80;

/** Undefined where the path is straight. */
export function whyNotBetter({ kind, failedPaths, meeting }: Tried): string | undefined {
  const rank = rankOf(kind);
  if (rank <= STRAIGHT_RANK) return undefined;
  const better = failedPaths.filter((failed) => rankOf(failed.kind) < rank);
  const hole = rank > PUNCH_RANK && meeting ? [meetingWords(meeting)] : [];
  const words = [...hole, ...dialsWords(better)].join("; ");
  return cut(words || "no better address of it has been tried from here", WHY_LIMIT_CHARS);
}

function meetingWords({ words, ownMapping, theirMapping }: NonNullable<Tried["meeting"]>): string {
  const isBlocked = [ownMapping === "blocked" && "here", theirMapping === "blocked" && "there"].filter(Boolean);
  if (isBlocked.length > 0) return `no hole: UDP is blocked ${isBlocked.join(" and ")}`;
  if (ownMapping === "dependent" && theirMapping === "dependent") {
    return "no hole: both routers give each peer another port";
  }
  return words;
}

function dialsWords(failed: Tried["failedPaths"]): string[] {
  const isOwn = ({ address }: { address: string }) => isLoopback(hostOf(address));
  const [first, ...others] = failed.toSorted((a, b) => Number(isOwn(a)) - Number(isOwn(b)));
  if (!first) return [];
  const reason = `${first.address}: ${cut(reasonOf(first), ERROR_CHARS)}`;
  return [others.length > 0 ? `${reason}, and ${others.length} more` : reason];
}

/** Why an address did not lead to the peer: without the address itself, and without advice. */
export function reasonOf({ address, error }: { address: string; error: string }): string {
  const [reason = ""] = error.replaceAll(`cannot reach ${address}: `, "").replaceAll(address, "").split("; ");
  return reason.replace(/^[\s:]+/, "");
}

export function cut(text: string, chars: number): string {
  return text.length > chars ? `${text.slice(0, chars - 3)}...` : text;
}
