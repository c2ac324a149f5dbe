import { describe, expect, test } from "vitest";
import type { Finding, FoundWorker, ProvidedHost } from "../../../core/provider.ts";
import { DialFailure } from "../../../plugins/ssh/dial-tcp.ts";
import {
  burstFinding,
  connectionFinding,
  destinationFinding,
  forwardingFinding,
  goalFinding,
  workerFinding,
} from "../../../plugins/ssh/ssh-findings.ts";

const address = "tcp://10.0.0.1:7450";

describe("connectionFinding: F98", () => {
  test("a failure is a problem, with its advice apart", () => {
    const failure = new DialFailure(["gpu1 refuses", "start sshd"], new Error("why"));
    const expected = {
      check: "connection",
      state: "problem",
      words: "gpu1 refuses",
      fix: "start sshd",
      code: "UNREACHABLE",
    };
    expect(connectionFinding("gpu1", 2222, failure)).toEqual(expected);
  });

  test("so is silence", () => {
    const expected = {
      state: "problem",
      words: "gpu1 port 2222 does not answer",
      fix: expect.stringContaining("port 2222"),
    };
    expect(connectionFinding("gpu1", 2222, undefined)).toMatchObject(expected);
  });

  test("one that was made is well", () => {
    expect(connectionFinding("gpu1", 22, 0.23)).toMatchObject({ state: "ok", words: "in 0.2 ms" });
  });
});

test("destinationFinding: F98 names user, place, jump hosts, and what takes the system's ssh", () => {
  const hop = (label: string, hostName: string) => ({ label, settings: { user: "alice", hostName, port: 22 } });
  const route = [hop("door", "1.2.3.4"), hop("gpu1", "10.0.0.5")] as unknown as Parameters<
    typeof destinationFinding
  >[0];
  expect(destinationFinding(route, []).words).toBe("alice@10.0.0.5 port 22, through door");
  expect(destinationFinding(route, ["ProxyCommand"]).words).toContain("by the system's ssh, for ProxyCommand");
});

describe("forwardingFinding: F98 F93", () => {
  test.each<[refusal: string | undefined, isNeeded: boolean | undefined, state: Finding["state"]]>([
    [undefined, undefined, "ok"],
    [undefined, true, "ok"],
    ["no", false, "warning"],
    ["no", undefined, "warning"],
    ["no", true, "problem"],
  ])("refusal %s, needed %s: %s", (refusal, isNeeded, state) => {
    expect(forwardingFinding(refusal, isNeeded).state).toBe(state);
  });
});

describe("workerFinding: F98 F96", () => {
  const timing = { heartbeatMs: 1_000, suspectAfterMs: 3_000, downAfterMs: 10_000 };
  const host: ProvidedHost = { name: "a", target: "a", worker: { tags: [], ...timing } };
  const worker = (build: string, pid: number, name = "a") => ({ mesh: "m", name, pid, build });
  test.each<[what: string, workers: FoundWorker[] | undefined, state: Finding["state"]]>([
    ["none", [], "skipped"],
    ["another's", [worker("1", 5, "b")], "skipped"],
    ["this build's", [worker("1", 5)], "ok"],
    ["of another build", [worker("0", 5)], "warning"],
    ["this build's, and an old one that ends its jobs", [worker("0", 4), worker("1", 5)], "ok"],
    ["not known", undefined, "skipped"],
  ])("%s", (_, workers, state) => {
    expect(workerFinding(host, "1", workers).state).toBe(state);
  });
});

describe("burstFinding: F98", () => {
  test.each<[drops: number, failure: string | undefined, state: Finding["state"]]>([
    [0, undefined, "ok"],
    [3, undefined, "warning"],
    [9, "hung up 5 times", "problem"],
  ])("%i drops, failure %s: %s", (drops, failure, state) => {
    expect(burstFinding(8, drops, failure).state).toBe(state);
  });
});

test("goalFinding: F98 F93 one address that answers is enough, the fastest is told; else each with its reason", () => {
  const other = "tcp://10.0.0.2:7450";
  const reached = [
    { address, tookMs: 30 },
    { address: other, tookMs: 2 },
    { address, code: "ETIMEDOUT" },
  ];
  expect(goalFinding("b", reached)).toEqual({ check: "to b", state: "ok", words: `${other} in 2.0 ms` });
  const refused = goalFinding("b", [
    { address, code: "ECONNREFUSED" },
    { address: other, code: "ETIMEDOUT" },
  ]);
  expect(refused).toMatchObject({
    state: "warning",
    words: expect.stringContaining(`${address} (refused), ${other} (no answer)`),
  });
});
