import { describe, expect, test } from "vitest";
import { WHY_LIMIT_CHARS } from "../../core/coordinator/path-report.ts";
import { type Tried, whyNotBetter } from "../../core/member/why-not-better.ts";

const DIRECT = "tcp://10.0.0.5:7450";
const refused = (address: string) => ({
  ...{ kind: "tcp", address },
  error: `cannot reach ${address}: refused: nothing listens there; is mesh running there?`,
});

describe("whyNotBetter: F93", () => {
  test.each<[what: string, tried: Tried, why: string | undefined]>([
    ["a direct path is the best", { kind: "udp", failedPaths: [refused(DIRECT)], meeting: undefined }, undefined],
    [
      "a hole: dialing failed; what this machine means by itself comes last",
      { kind: "punch", failedPaths: [refused("tcp://[::1]:1"), refused(DIRECT)], meeting: { words: "a hole to x" } },
      `${DIRECT}: refused: nothing listens there, and 1 more`,
    ],
    [
      "relayed: no hole can be made",
      {
        ...{ kind: "relay", failedPaths: [refused(DIRECT)] },
        meeting: { words: "long", ownMapping: "dependent", theirMapping: "dependent" },
      },
      `no hole: both routers give each peer another port; ${DIRECT}: refused: nothing listens there`,
    ],
    [
      "relayed: UDP is blocked",
      { kind: "tcprelay", failedPaths: [], meeting: { words: "long", ownMapping: "blocked", theirMapping: "blocked" } },
      "no hole: UDP is blocked here and there",
    ],
    [
      "relayed: a hole that did not come about, with its own words; another relay is no better",
      {
        kind: "relay",
        failedPaths: [{ kind: "ssh", address: "ssh://x", error: "gone" }],
        meeting: { words: "nothing came from it", ownMapping: "independent", theirMapping: "independent" },
      },
      "nothing came from it",
    ],
    [
      "nothing tried",
      { kind: "ssh", failedPaths: [], meeting: undefined },
      "no better address of it has been tried from here",
    ],
  ])("%s", (_, tried, why) => {
    expect(whyNotBetter(tried)).toBe(why);
  });

  test("is never longer than a report may carry", () => {
    const failedPaths = [refused(`tcp://${"x".repeat(300)}:1`)];
    const why = whyNotBetter({ kind: "relay", failedPaths, meeting: { words: "y".repeat(300) } })!;
    expect(why).toHaveLength(WHY_LIMIT_CHARS);
  });
});
