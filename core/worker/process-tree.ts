// Finding, measuring and ending whole process trees. What user code starts is found by parentage alone, never by name:
// the caller is a subreaper (libc.ts), so whatever loses its parent below it becomes its own child.
// Linux reads /proc. Elsewhere `ps` gives parentage, and memory is not measured.

import { readdirSync, readFileSync } from "node:fs";
import type { Clock } from "../clock.ts";
import { killProcess, reap } from "./libc.ts";

const POLL_MS = 5;
/** How long a killed process may take to vanish; longer means it hangs in the kernel (a dead network disk). */
const VANISH_LIMIT_MS = 10_000;
/** Scans of one freeze. A tree that grows for longer than that is killed as far as it is seen, then looked at again. */
const FREEZE_SCANS = 50;

interface ProcessStat {
  pid: number;
  parentPid: number;
  /** R, S, D, T, Z, ... of proc_pid_stat(5). */
  state: string;
  sessionId: number;
  threads: number;
  /** Since boot, in clock ticks: together with the pid it names one process for good. */
  startTicks: string;
}

const hasProc = process.platform === "linux";

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined; // gone in the meantime, or not ours to read
  }
}

function readNames(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/**
 * Reads one line of /proc/PID/stat. The second field, the program's name, is in parentheses and may itself hold
 * parentheses, spaces and newlines: what counts comes after the last closing one.
 */
export function parseStat(text: string): ProcessStat | undefined {
  const close = text.lastIndexOf(")");
  const pid = Number.parseInt(text, 10);
  const fields = text.slice(close + 2).split(" ");
  const startTicks = fields[19];
  if (close < 0 || Number.isNaN(pid) || startTicks === undefined) return undefined;
  const [state = "", parentPid, , sessionId] = fields;
  return {
    pid,
    state,
    parentPid: Number(parentPid),
    sessionId: Number(sessionId),
    threads: Number(fields[17]),
    startTicks,
  };
}

function stat(pid: number): ProcessStat | undefined {
  const text = readText(`/proc/${pid}/stat`);
  return text === undefined ? undefined : parseStat(text);
}

/** Which process this is for good, also after its pid was given to another; undefined when it has ended. */
function identity(pid: number): string | undefined {
  if (!hasProc) return killProcess(pid, 0) ? String(pid) : undefined;
  const found = stat(pid);
  return found && !isDead(found) ? `${pid}:${found.startTicks}` : undefined;
}

/** A zombie whose other threads still run only lost its first thread. */
function isDead(found: ProcessStat): boolean {
  return found.state === "X" || (found.state === "Z" && found.threads <= 1);
}

/**
 * The ids of the direct children of `pid`, zombies included; empty when it is gone. One reading of a moving thing:
 * children started meanwhile may be missing.
 */
export function childrenOf(pid: number): number[] {
  return childrenByTask(pid) ?? childrenByScan(pid);
}

/** By /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN): children hang on the thread that made them. */
function childrenByTask(pid: number): number[] | undefined {
  const threads = readNames(`/proc/${pid}/task`);
  if (threads.length === 0) return hasProc ? [] : undefined;
  const lists = threads.map((thread) => readText(`/proc/${pid}/task/${thread}/children`));
  // A thread may have ended since; that none has the file means a kernel without it.
  if (lists.every((list) => list === undefined)) return undefined;
  return lists.flatMap((list) => (list ?? "").split(" ").filter(Boolean).map(Number));
}

/** As childrenOf, by looking at every process there is; exported for its test. */
export function childrenByScan(pid: number): number[] {
  return parentage().flatMap(([child, parent]) => (parent === pid ? [child] : []));
}

function parentage(): [pid: number, parentPid: number][] {
  if (!hasProc) return parentageByPs();
  return readNames("/proc").flatMap((name): [number, number][] => {
    const found = /^\d+$/.test(name) ? stat(Number(name)) : undefined;
    return found ? [[found.pid, found.parentPid]] : [];
  });
}

function parentageByPs(): [number, number][] {
  const listed = Bun.spawnSync(["ps", "-A", "-o", "pid=,ppid="]).stdout.toString();
  return Array.from(listed.matchAll(/(\d+)\s+(\d+)/g), (row) => [Number(row[1]), Number(row[2])]);
}

/** The ids of all processes below `pid`, parents before children, without `pid` itself. */
export function descendantsOf(pid: number): number[] {
  return treeOf([pid]).slice(1);
}

/** `roots` and all below them, parents before children; neither enters nor lists what is in `except`. */
function treeOf(roots: readonly number[], except?: ReadonlySet<number>): number[] {
  const found = new Set(roots);
  for (const pid of found) {
    for (const child of childrenOf(pid)) if (!except?.has(child)) found.add(child);
  }
  return [...found];
}

let pageBytes = 0;

/** Bytes per page as the kernel told this process (AT_PAGESZ): 4,096 on x64, up to 65,536 on arm64. */
export function pageSizeBytes(): number {
  pageBytes ||= readPageSize();
  return pageBytes;
}

const AT_PAGESZ = 6n;

function readPageSize(): number {
  const vector = readFileSync("/proc/self/auxv");
  for (let at = 0; at + 16 <= vector.length; at += 16) {
    if (vector.readBigUInt64LE(at) === AT_PAGESZ) return Number(vector.readBigUInt64LE(at + 8));
  }
  throw new Error("/proc/self/auxv has no page size");
}

/** Bytes of physical memory that process `pid` holds, pages it shares included. 0 when it is gone and outside Linux. */
export function residentBytes(pid: number): number {
  const pages = readText(`/proc/${pid}/statm`)?.split(" ")[1];
  return pages === undefined ? 0 : Number(pages) * pageSizeBytes();
}

/** As residentBytes, for `pid` and all below it together; pages that several of them share count for each. */
export function residentBytesOfTree(pid: number): number {
  return treeOf([pid]).reduce((sum, each) => sum + residentBytes(each), 0);
}

/**
 * Kills with SIGKILL every child of this process that is not in `keep`, and all below it, again until none is left, and
 * takes the status of those that are ours. Kept children and everything below them are never touched.
 *
 * `keep` is read anew in each round, so a child spawned meanwhile is safe once its id is in the set in the same turn.
 * It must hold every living child of `Bun.spawn`, and one that ended until its `exited` has settled.
 * `isStray` may spare others. Returns the ids killed, without those found already dead. Gives up after 10 s on a process that hangs in the kernel;
 * the next call tries again.
 */
export async function sweepStrays(
  keep: ReadonlySet<number>,
  isStray: (pid: number) => boolean = () => true,
): Promise<number[]> {
  const killed = new Set<number>();
  const end = performance.now() + VANISH_LIMIT_MS;
  for (;;) {
    const children = childrenOf(process.pid).filter((pid) => !keep.has(pid) && isStray(pid) && !isDaemon(pid));
    if (children.length === 0 || performance.now() > end) return [...killed];
    // One that is dead by now may have left children to us after we looked: only a look that finds nobody is the last.
    const strays = children.filter(isLeft);
    for (const pid of killTrees(strays, keep).keys()) killed.add(pid);
    await Bun.sleep(1); // they die asynchronously; what loses its parent meanwhile is ours in the next round
  }
}

/** What a daemon of mesh is started with, that was started from a job and outlives it: it is nobody's stray. */
export const DAEMON_MARK = { name: "MESH_DAEMON", value: "1" };

function isDaemon(pid: number): boolean {
  return hasInEnvironment(pid, `${DAEMON_MARK.name}=${DAEMON_MARK.value}`);
}

/** Takes the status of `pid` if it has ended. Outside Linux nothing is adopted, and its own parent does that. */
function isLeft(pid: number): boolean {
  return hasProc ? reap(pid) === "running" : true;
}

/**
 * Sends SIGKILL to `roots` and all below; stops them first, so that none can start another one in between. Returns those
 * that were alive, with their identity.
 */
function killTrees(roots: readonly number[], except?: ReadonlySet<number>): Map<number, string> {
  const alive = new Map<number, string>();
  const stopped = freeze(roots, except);
  for (const pid of stopped) {
    const name = identity(pid);
    if (name !== undefined) alive.set(pid, name);
  }
  for (const pid of stopped) killProcess(pid, "SIGKILL");
  return alive;
}

/**
 * Stops the trees of `roots` until a scan finds nobody new, and returns them all. Whoever becomes a child of this process
 * meanwhile lost its parent, because no code of ours runs in between to start one: it belongs to them.
 */
function freeze(roots: readonly number[], except?: ReadonlySet<number>): number[] {
  const ours = new Set(childrenOf(process.pid));
  const seen = new Set<number>();
  for (let scan = 0; scan < FREEZE_SCANS; scan++) {
    const adopted = hasProc ? childrenOf(process.pid).filter((pid) => !ours.has(pid)) : [];
    const fresh = treeOf([...roots, ...adopted], except).filter((pid) => !seen.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      seen.add(pid);
      killProcess(pid, "SIGSTOP");
    }
  }
  return [...seen];
}

/** Whether that process was started with `entry` ("NAME=value") in its environment, as far as this user may see. */
export function hasInEnvironment(pid: number, entry: string): boolean {
  return readText(`/proc/${pid}/environ`)?.split("\0").includes(entry) === true;
}

export interface EndTreeOptions {
  /** What SIGTERM is given before SIGKILL follows, in milliseconds; 0 sends SIGKILL at once. */
  graceMs: number;
  /** Sent in place of SIGTERM. */
  signal?: NodeJS.Signals;
  clock: Clock;
}

/**
 * Ends process `pid`, its process group and everything below it, also what left the group: SIGTERM to all, SIGKILL
 * after `graceMs` to what is left. Call it while `pid` is a child whose status was not taken, so that the id is still its own.
 * What left both its parent and the session of `pid` between two looks is found by the next sweepStrays.
 * Resolves with true once all of them are gone, with false when one still hangs in the kernel 10 s after SIGKILL.
 * Leaves the status of `pid` itself to its parent (`Bun.spawn`).
 */
export async function endTree(pid: number, options: EndTreeOptions): Promise<boolean> {
  const { graceMs, clock, signal = "SIGTERM" } = options;
  const tracked = new Map<number, string>();
  const start = clock.now();
  if (graceMs > 0) {
    track(pid, tracked);
    terminate(pid, tracked, signal);
  }
  while (clock.now() - start < graceMs) {
    if (!track(pid, tracked)) return true;
    await wait(clock, Math.min(POLL_MS, graceMs - (clock.now() - start)));
  }
  const end = clock.now() + VANISH_LIMIT_MS;
  while (track(pid, tracked)) {
    if (clock.now() > end) return false;
    for (const [each, name] of killTrees([...tracked.keys()])) tracked.set(each, name);
    killProcess(-pid, "SIGKILL");
    await wait(clock, POLL_MS);
  }
  return true;
}

/**
 * Adds what is now below `pid`, in its session or below those found before, and drops what has ended, taking its status where it was
 * given to us. Tells whether anything of it lives.
 */
function track(pid: number, tracked: Map<number, string>): boolean {
  for (const each of treeOf([pid, ...tracked.keys(), ...adoptedOf(pid)])) {
    const now = identity(each);
    const before = tracked.get(each);
    if (now === undefined || (before !== undefined && before !== now)) tracked.delete(each);
    else tracked.set(each, now);
    if (now === undefined && each !== pid) reap(each);
  }
  return tracked.size > 0;
}

/** The children of this process that were started in the session of `pid` and lost their parent. */
function adoptedOf(pid: number): number[] {
  return hasProc ? childrenOf(process.pid).filter((child) => child !== pid && stat(child)?.sessionId === pid) : [];
}

/** One signal for each: a second one means "now" to many programs. */
function terminate(pid: number, tracked: ReadonlyMap<number, string>, signal: NodeJS.Signals): void {
  if (!hasProc) killProcess(-pid, signal);
  else for (const each of tracked.keys()) killProcess(each, signal);
}

function wait(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.after(Math.max(1, delayMs), resolve));
}

/**
 * How many processes the kernel has ended for lack of memory: of this process's own cgroup where the kernel counts that
 * (cgroup v2), of the whole machine otherwise (/proc/vmstat, which a container shares with its neighbours). Compare a
 * reading before with one after; undefined where neither exists.
 */
export function kernelOomKills(): number | undefined {
  const path = /^0::(.*)$/m.exec(readText("/proc/self/cgroup") ?? "")?.[1];
  const own = path === undefined ? undefined : readText(`/sys/fs/cgroup${path}/memory.events`);
  const counter = /^oom_kill (\d+)$/m;
  const count = (counter.exec(own ?? "") ?? counter.exec(readText("/proc/vmstat") ?? ""))?.[1];
  return count === undefined ? undefined : Number(count);
}
