// The cases on real processes run in a program of their own (test/fixtures/worker), because a subreaper is one for life.
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../core/clock.ts";
import { becomeSubreaper, dieWithParent, killProcess, preferForOom, reap } from "../../core/worker/libc.ts";
import {
  childrenByScan,
  childrenOf,
  descendantsOf,
  endTree,
  kernelOomKills,
  pageSizeBytes,
  parseStat,
  residentBytes,
  residentBytesOfTree,
} from "../../core/worker/process-tree.ts";
import { until } from "../support/until.ts";

const fixture = (name: string) => join(import.meta.dirname, "../fixtures/worker", name);
const isLinux = process.platform === "linux";

// Sleeps of a length nobody else uses, so that one test finds its own and only its own.
let nextMark = 0;
const marks: string[] = [];

function newMark(): string {
  const mark = `321.${process.pid}${nextMark++}`;
  marks.push(mark);
  return mark;
}

function sleepers(mark: string): number[] {
  const listed = Bun.spawnSync(["pgrep", "-f", `^sleep ${mark}$`]).stdout.toString();
  return listed.split("\n").filter(Boolean).map(Number);
}

afterEach(() => {
  for (const mark of marks.splice(0)) for (const pid of sleepers(mark)) killProcess(pid, "SIGKILL");
});

it("parseStat: a name with parentheses, spaces and newlines does not shift the fields", () => {
  const rest = "S 7 8 9 0 -1 4227084 97 0 0 0 0 0 0 0 20 0 3 0 206889 0 0";
  for (const name of ["sh", "a b", "x) R 1 (", "(((", "\n) Z 5"]) {
    const expected = { pid: 42, state: "S", parentPid: 7, sessionId: 9, threads: 3, startTicks: "206889" };
    expect(parseStat(`42 (${name}) ${rest}`)).toEqual(expected);
  }
  expect(parseStat("")).toBeUndefined();
  expect(parseStat("42 (sh) S 7")).toBeUndefined();
});

describe.skipIf(!isLinux)("on this machine", () => {
  it("childrenOf, descendantsOf: both ways to look see the same", async () => {
    const mark = newMark();
    const child = Bun.spawn(["sh", "-c", `sh -c 'sleep ${mark} & wait' & sleep ${mark} & wait`], { detached: true });
    await until(() => sleepers(mark).length === 2, { what: "both sleeps" });
    expect(childrenOf(process.pid)).toContain(child.pid);
    expect(childrenByScan(process.pid).sort()).toEqual(childrenOf(process.pid).sort());
    const below = descendantsOf(child.pid);
    expect(below.length).toBe(3);
    expect(below).toEqual(expect.arrayContaining(sleepers(mark)));
    expect(await endTree(child.pid, { graceMs: 0, clock: systemClock })).toBe(true);
    expect(childrenOf(child.pid)).toEqual([]);
    await child.exited;
  });

  it("childrenOf: a child whose program has a name like a stat line is found", async () => {
    const script =
      'require("fs").writeFileSync("/proc/self/comm", "x) R 1 (y"); console.log(1); setInterval(()=>{},1e5)';
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
    await child.stdout.getReader().read();
    expect(childrenByScan(process.pid)).toContain(child.pid);
    child.kill("SIGKILL");
    await child.exited;
  });

  it("residentBytes: agrees with the kernel's own figure in kB, and is 0 for nobody", async () => {
    expect(pageSizeBytes()).toBe(Number(Bun.spawnSync(["getconf", "PAGESIZE"]).stdout.toString()));
    const child = Bun.spawn(["sh", "-c", "echo; sleep 300 & wait"], { detached: true, stdout: "pipe" });
    await child.stdout.getReader().read();
    await until(() => childrenOf(child.pid).length === 1, { what: "the sleep" });
    const status = await Bun.file(`/proc/${child.pid}/status`).text();
    const kilobytes = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]);
    expect(Math.abs(residentBytes(child.pid) - kilobytes * 1024)).toBeLessThan(512 * 1024);
    expect(residentBytesOfTree(child.pid)).toBeGreaterThan(residentBytes(child.pid));
    await endTree(child.pid, { graceMs: 0, clock: systemClock });
    await child.exited;
    expect(residentBytes(child.pid)).toBe(0);
    expect(residentBytesOfTree(child.pid)).toBe(0);
  });

  it("kernelOomKills (F84): is a count", () => {
    expect(kernelOomKills()).toBeGreaterThanOrEqual(0);
  });

  it("reap, killProcess: refuse what means more than one process", () => {
    for (const pid of [0, -1, 1.5, Number.NaN]) expect(() => reap(pid)).toThrow(/one process id/);
    for (const pid of [0, 1, -1, Number.NaN]) expect(() => killProcess(pid, "SIGTERM")).toThrow(/refused/);
    expect(reap(process.pid)).toBe("no-child");
    expect(killProcess(2 ** 30, "SIGTERM")).toBe(false);
  });

  interface Seen {
    killed: number[];
    left: number;
    onlyKept: boolean;
    keptTree: number;
    gone: boolean;
    exitCode: number | null;
    signal: string | null;
  }

  async function runCase(name: string): Promise<Seen> {
    const program = Bun.spawn([process.execPath, fixture("sweep.ts"), name, newMark()], { stdout: "pipe" });
    const said = await new Response(program.stdout).text();
    expect(await program.exited).toBe(0);
    return JSON.parse(said);
  }

  const sweeps: [string, string, number][] = [
    ["a daemon forked twice", "daemon", 1],
    ["daemons in sessions of their own", "setsid", 4],
  ];
  it.each(sweeps)("sweepStrays (X27): %s is gone, kept children and theirs are not touched", async (_name, kind, n) => {
    const seen = await runCase(kind);
    expect(seen).toMatchObject({ left: 0, onlyKept: true, keptTree: 1 });
    expect(seen.killed.length).toBe(n);
  });

  it("sweepStrays (X27): a stray that forks without end does not win", async () => {
    const seen = await runCase("fork");
    expect(seen).toMatchObject({ left: 0, onlyKept: true, keptTree: 1 });
    expect(seen.killed.length).toBeGreaterThan(5);
  });

  it("sweepStrays (X27): a stopped stray is gone", async () => {
    const seen = await runCase("stopped");
    expect(seen.left).toBe(0);
    expect(seen.killed.length).toBe(1);
  });

  it("sweepStrays (X27): what a stray leaves that dies while we look is found too", async () => {
    expect(await runCase("dying")).toEqual({ left: 0 });
  });

  it("endTree (X26): a program that obeys SIGTERM ends in its own way, asked once", async () => {
    expect(await runCase("end-polite")).toMatchObject({ gone: true, left: 0, exitCode: 7, signal: null });
  });

  it("endTree (X26): what ignores SIGTERM or left the group is killed after the grace", async () => {
    expect(await runCase("end-deaf")).toMatchObject({ gone: true, left: 0, signal: "SIGKILL" });
  });

  it("endTree (X26): a tree that forks without end is gone", async () => {
    expect(await runCase("end-fork")).toMatchObject({ gone: true, left: 0 });
  });

  interface Level {
    level: number;
    pid: number;
    isReaper: boolean;
    isTied: boolean;
  }

  /** Starts head, agent and slot (levels 2, 1, 0), the slot with a daemon; resolves once all of it runs. */
  async function startLevels(mark: string) {
    const command = `(setsid sleep ${mark} &) ; sleep ${mark}`;
    const head = Bun.spawn([process.execPath, fixture("supervise.ts"), "2", command], { stdout: "pipe" });
    const levels: Level[] = [];
    let text = "";
    const reader = head.stdout.getReader();
    while (levels.length < 3) {
      const { value, done } = await reader.read();
      if (done) throw new Error("the levels ended");
      text += new TextDecoder().decode(value);
      levels.splice(
        0,
        3,
        ...text
          .split("\n")
          .slice(0, -1)
          .map((line) => JSON.parse(line) as Level),
      );
    }
    await until(() => sleepers(mark).length === 2, { what: "the daemon" });
    return { head, levels };
  }

  const isAlive = (pid: number) => killProcess(pid, 0) && residentBytes(pid) > 0;

  it("dieWithParent, becomeSubreaper (X26): SIGKILL of the agent takes the slot, and the head gets the daemon", async () => {
    const mark = newMark();
    const { head, levels } = await startLevels(mark);
    expect(levels.map((level) => [level.isReaper, level.isTied])).toEqual([
      [true, false],
      [true, true],
      [true, true],
    ]);
    const [, agent, slot] = levels as [Level, Level, Level];
    killProcess(agent.pid, "SIGKILL");
    await until(() => !isAlive(agent.pid) && !isAlive(slot.pid), {
      what: "agent and slot to be gone",
      timeoutMs: 3_000,
    });
    const strays = sleepers(mark);
    await until(() => strays.every((pid) => descendantsOf(head.pid).includes(pid)), { what: "the head to adopt" });
    expect(strays.length).toBe(2);
    expect(await endTree(head.pid, { graceMs: 0, clock: systemClock })).toBe(true);
    await head.exited;
    expect(sleepers(mark)).toEqual([]);
  });

  it("endTree (X26): a tree of three levels with daemons in sessions of their own leaves nothing", async () => {
    const mark = newMark();
    const { head, levels } = await startLevels(mark);
    expect(await endTree(head.pid, { graceMs: 1_000, clock: systemClock })).toBe(true);
    await head.exited;
    expect(sleepers(mark)).toEqual([]);
    for (const level of levels) expect(isAlive(level.pid)).toBe(false);
  });

  it("dieWithParent: a process whose parent is already another one ends at once", async () => {
    const program = Bun.spawn([process.execPath, fixture("supervise.ts"), "0", "true", "1"], { stdout: "pipe" });
    expect(await program.exited).toBe(1);
    expect(await new Response(program.stdout).text()).toBe("");
  });

  it("preferForOom (X14): the kernel's score says so", async () => {
    const script = `import(${JSON.stringify(join(import.meta.dirname, "../../core/worker/libc.ts"))}).then(async (libc) =>
      console.log(libc.preferForOom(), await Bun.file("/proc/self/oom_score_adj").text()))`;
    const said = Bun.spawnSync([process.execPath, "-e", script]).stdout.toString();
    expect(said).toBe("true 500\n\n");
  });
});

it.skipIf(isLinux)("libc: outside Linux the calls without a counterpart say false", () => {
  expect(becomeSubreaper()).toBe(false);
  expect(dieWithParent(process.ppid)).toBe(false);
  expect(preferForOom()).toBe(false);
});
