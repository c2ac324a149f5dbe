import { describe, expect, test } from "vitest";
import { clock, hostFindings } from "../../core/bootstrap/findings.ts";
import type { CacheFolder, HostFacts } from "../../core/bootstrap/host-facts.ts";
import { hostFacts } from "../../core/bootstrap/host-facts.ts";
import type { Binary, Finding, ProvidedHost } from "../../core/provider.ts";

const MB = 1e6;
const binary: Binary = {
  path: "/b",
  sha256: "ab".repeat(32),
  sizeBytes: 110 * MB,
  packed: async () => ({ path: "/b.gz", sizeBytes: 52 * MB }),
};
const worker: ProvidedHost["worker"] = { tags: [], heartbeatMs: 1, suspectAfterMs: 1, downAfterMs: 1 };

function folder(path: string, more: Partial<CacheFolder> = {}): CacheFolder {
  return { path, freeBytes: 5_000 * MB, binaries: new Map(), ...more };
}

const facts: HostFacts = {
  platform: { os: "linux", arch: "x64", libc: "glibc" },
  system: "Linux x86_64, glibc 2.36",
  libcVersion: "2.36",
  lacksLibstdcxx: false,
  loaders: new Set(["/lib64/ld-linux-x86-64.so.2"]),
  cores: 8,
  memoryBytes: 16e9,
  availableBytes: 12e9,
  clockAheadMs: 0,
  user: "alice",
  uid: 1000,
  home: "/home/alice",
  folders: [folder("/home/alice/.cache/mesh"), folder("/var/tmp/mesh-1000")],
  tools: new Set(["gzip", "sha256sum", "dd", "df"]),
};

function find(check: string, more: Partial<HostFacts> = {}, of: Binary | Error = binary, slots?: number): Finding {
  const host = { worker: { ...worker, ...(slots && { slots }) } };
  return hostFindings({ ...facts, ...more }, of, host).find((finding) => finding.check === check)!;
}

test("findings: F98 F7 a host that is well has nothing but ok, each check once, and no fix", () => {
  const findings = hostFindings(facts, binary, { worker });
  expect(findings.map(({ check }) => check)).toEqual(["system", "machine", "room", "binary", "tools", "clock"]);
  expect(findings.filter(({ state, fix, code }) => state !== "ok" || fix || code)).toEqual([]);
  expect(find("machine").words).toBe("8 cores, 16 GB of memory, 12 GB of it free");
  expect(find("binary").words).toBe("not there yet: `mesh up` sends it");
});

const full = { freeBytes: 20 * MB };
const noexec = { problem: { kind: "noexec" as const, words: "programs may not be run from there" } };
const unwritable = { problem: { kind: "unwritable" as const, words: "Permission denied" } };
const here = (state: "whole" | "doubtful") => ({ binaries: new Map([[binary.sha256, state]]) });
const home = "/home/alice/.cache/mesh";

test("F98 a worker that would end with the login that starts it: a warning, with what to do; else no row", () => {
  expect(find("end of login", { endsWithLogin: true })).toMatchObject({
    state: "warning",
    fix: "as root there: `loginctl enable-linger alice`",
  });
  expect(find("end of login")).toBeUndefined();
});

describe("findings: F98", () => {
  test.each<[what: string, check: string, facts: Partial<HostFacts>, expected: Partial<Finding>]>([
    ["an x64 without AVX2", "system", { platform: { ...facts.platform, isBaseline: true } }, { state: "ok" }],
    ["musl without libstdc++", "system", { lacksLibstdcxx: true }, { state: "problem", code: "UNREACHABLE" }],
    ["an old glibc", "system", { libcVersion: "2.12" }, { state: "problem", fix: "leave this host out" }],
    ["the oldest glibc that will do", "system", { libcVersion: "2.17" }, { state: "ok" }],
    [
      "no loader",
      "system",
      { loaders: new Set() },
      { state: "warning", words: expect.stringContaining("ld-linux-x86-64") },
    ],
    [
      "only the loader of another libc",
      "system",
      { loaders: new Set(["/lib/ld-musl-x86_64.so.1"]) },
      { state: "warning" },
    ],
    ["a Mac", "system", { platform: { os: "darwin", arch: "arm64" }, loaders: new Set() }, { state: "ok" }],
    ["little memory", "machine", { availableBytes: 300e6 }, { state: "warning" }],
    [
      "no word on memory",
      "machine",
      { memoryBytes: undefined as never, availableBytes: undefined as never },
      { state: "ok", words: "8 cores" },
    ],
    ["a full home", "room", { folders: [folder(home, full), folder("/tmp/m")] }, { state: "warning" }],
    [
      "a home nobody may write",
      "room",
      { folders: [folder(home, unwritable), folder("/tmp/m")] },
      { state: "warning" },
    ],
    ["a home without execution", "room", { folders: [folder(home, noexec), folder("/tmp/m")] }, { state: "ok" }],
    [
      "no room anywhere",
      "room",
      { folders: [folder(home, full), folder("/tmp/m", noexec)] },
      { state: "problem", code: "STORAGE" },
    ],
    ["no folder at all", "room", { folders: [] }, { state: "problem", code: "STORAGE" }],
    [
      "a full folder that has the binary",
      "room",
      { folders: [folder(home, { ...full, ...here("whole") })] },
      { state: "ok" },
    ],
    ["df that does not tell", "room", { folders: [{ path: home, binaries: new Map() }] }, { state: "ok", words: home }],
    [
      "the binary there",
      "binary",
      { folders: [folder(home, here("whole"))] },
      { state: "ok", words: "this build's is there" },
    ],
    ["an altered binary", "binary", { folders: [folder(home, here("doubtful"))] }, { state: "warning" }],
    ["no gzip", "tools", { tools: new Set(["dd", "openssl"]) }, { state: "warning", fix: "install gzip there" }],
    ["no digest", "tools", { tools: new Set(["dd", "gzip"]) }, { state: "problem" }],
    ["no dd", "tools", { tools: new Set(["sha256sum", "gzip"]) }, { state: "problem" }],
  ])("%s", (_, check, more, expected) => {
    expect(find(check, more)).toMatchObject(expected);
  });

  test("every warning and problem has a fix", () => {
    const bad = {
      ...facts,
      lacksLibstdcxx: true,
      availableBytes: 1,
      folders: [],
      tools: new Set<string>(),
      clockAheadMs: 1e6,
    };
    const findings = [...hostFindings(bad, binary, { worker }), find("binary", {}, new Error("no base"))];
    expect(findings.filter(({ state, fix }) => state !== "ok" && !fix)).toEqual([]);
    expect(findings.filter(({ state, code }) => state === "problem" && !code)).toEqual([]);
  });

  test("the slots that fit are named", () => {
    expect(find("machine", { availableBytes: 350e6 }, binary, 16)).toMatchObject({
      fix: expect.stringContaining("slots = 3 "),
    });
  });
});

describe("clock: F98 F7", () => {
  test.each([
    [0, "ok"],
    [1_999, "ok"],
    [-2_500, "warning"],
    [59_000, "warning"],
    [-61_000, "problem"],
    [86_400_000, "problem"],
    [undefined, "skipped"],
  ])("%s ms is %s", (aheadMs, state) => {
    expect(clock(aheadMs).state).toBe(state);
  });

  test("a slow host's clock is not blamed for the time that asking took", () => {
    const answers = [
      ["system", "Linux"],
      ["machine", "x86_64"],
      ["time", "100"],
    ] as [string, string][];
    const aheadFor = (askedMs: number, answeredMs: number) =>
      hostFacts({ answers, askedMs, answeredMs }, "host1").clockAheadMs;
    expect(aheadFor(99_000, 109_000)).toBe(0);
    expect(aheadFor(100_900, 109_000)).toBe(0);
    expect(aheadFor(90_000, 95_000)).toBe(5_000);
    expect(aheadFor(111_000, 119_000)).toBe(-10_000);
  });
});
