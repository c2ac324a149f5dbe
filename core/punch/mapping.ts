// How the routers before this machine name its UDP ports outside, from what echoes told (RFC 4787, section 4.1).
import { hostOf, isLoopback } from "../ip-address.ts";
import type { Mapping } from "../rendezvous/bodies.ts";

/** What a place told: from its port `by`, it sees this machine's packets come from `seen`. */
export interface Seen {
  /** Where the answer came from: "198.51.100.7:7451". */
  by: string;
  seen: string;
}

/**
 * `own`: the same port at this machine's addresses. `asked`: places and ports that were. A place on this machine says nothing
 * of routers, one without a NAT before it nothing where another one sees a NAT.
 */
export function judgeMapping(answers: readonly Seen[], own: readonly string[], asked: number): Mapping {
  if (answers.length === 0) return asked === 0 ? "unknown" : "blocked";
  const telling = answers.filter(({ seen }) => !isLoopback(hostOf(seen)));
  const translated = telling.filter(({ seen }) => !own.includes(seen));
  // IPv6 is hardly ever translated: where both were asked, it is IPv4 that decides.
  const v4 = translated.filter(({ seen }) => !seen.startsWith("["));
  const deciding = v4.length > 0 ? v4 : translated;
  if (deciding.length === 0) return telling.length > 0 ? "none" : "unknown";
  if (isDifferent(deciding)) return "dependent";
  return new Set(deciding.map(({ by }) => by)).size > 1 ? "independent" : "unknown";
}

/** Two ports of one place must see the same; two places may be reached over different routers, and then say nothing. */
function isDifferent(answers: readonly Seen[]): boolean {
  return answers.some((a) =>
    answers.some((b) => a.seen !== b.seen && (hostOf(a.by) === hostOf(b.by) || hostOf(a.seen) === hostOf(b.seen))),
  );
}
