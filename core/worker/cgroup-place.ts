// Where this process may make cgroups (v2) for its slots. It must be a place that was given to us: a unit of systemd with
// Delegate=, a group whose files belong to our user, or a container's own root. In doubt it is none: whoever makes groups in
// a tree that systemd manages, or moves processes of others about, breaks the user's session.
//
//   the place, without processes itself    ("no internal processes": a group has either processes or controllers for
//     ├─ mesh-PID-node       we              groups below it)
//     ├─ mesh-PID-slot-3     a slot
//     └─ mesh-PID-slot-4     …
import { dirname, join } from "node:path";
import type { CgroupFiles } from "./cgroup-files.ts";

/** What a process of mesh makes. */
const OWN_GROUP = /^mesh-(\d+)-(?:node|slot-\d+)$/;
const UNIT = /\.(?:service|scope)$/;
const ANY_UNIT = /\.(?:service|scope|slice|socket|mount|swap)$/;

/** How often processes that were started meanwhile are looked for while ours are moved. */
const MOVE_ROUNDS = 10;

export interface PlaceOptions {
  files: CgroupFiles;
  pid: number;
  /** Ids of all processes below one, which may be moved with it. */
  descendants: (pid: number) => readonly number[];
}

/** Why there is no place. */
export class NoPlace extends Error {}

/**
 * The path of a group in which groups with a memory limit can be made; this process and those below it were moved out of it
 * where need be. Throws NoPlace, with a reason for people, after undoing what was done.
 */
export function takePlace(options: PlaceOptions): string {
  const { files } = options;
  const own = ownGroup(files);
  const place = placeAbove(own, files) ?? own;
  checkGiven(place, files);
  removeLeftovers(place, options);
  if (controllers(files, place, "cgroup.subtree_control").includes("memory")) return place;
  if (isRoot(place, files)) throw new NoPlace(`the memory controller is not switched on below ${place}`);
  if (place === own) leave(place, options);
  else enable(place, files);
  return place;
}

/** The path of the group we are in. */
function ownGroup(files: CgroupFiles): string {
  const groups = files.read("/proc/self/cgroup") ?? "";
  if (/^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:/m.test(groups)) throw new NoPlace("memory is managed by cgroup v1 here");
  const own = /^0::(\/.*)$/m.exec(groups)?.[1];
  if (own === undefined) throw new NoPlace("this system has no cgroup v2");
  for (const line of (files.read("/proc/self/mountinfo") ?? "").split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    if (!after.startsWith("cgroup2 ")) continue;
    const [, , , root = "", mount = ""] = before.split(" ").map(unescaped);
    const below = root === "/" ? own : own === root || own.startsWith(`${root}/`) ? own.slice(root.length) : "/..";
    if (!below.startsWith("/..") && !own.endsWith(" (deleted)")) return join(mount, below).replace(/\/$/, "");
  }
  throw new NoPlace(`the cgroup of this process (${own}) is not to be seen in its file system`);
}

/** Where mountinfo writes spaces and the like as \040 (proc_pid_mountinfo(5)). */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** The unit around us, when we were started in a group below it (DelegateSubgroup= of systemd). */
function placeAbove(own: string, files: CgroupFiles): string | undefined {
  const above = dirname(own);
  const isSubgroup = UNIT.test(above) && !ANY_UNIT.test(own);
  return isSubgroup && processesIn(above, files).length === 0 ? above : undefined;
}

function checkGiven(place: string, files: CgroupFiles): void {
  if (!controllers(files, place, "cgroup.controllers").includes("memory")) {
    throw new NoPlace(`the memory controller was not given to ${place} (Delegate=memory of systemd)`);
  }
  const needed = [place, join(place, "cgroup.procs"), join(place, "cgroup.subtree_control")];
  const locked = needed.find((path) => !files.isWritable(path));
  if (locked) throw new NoPlace(`this user may not write ${locked} (Delegate=memory of systemd)`);
  // To root, and to a user in the tree of their own systemd, everything can be written: that says nothing. What systemd
  // gives away it marks.
  const isManaged = files.list("/run/systemd").includes("system") && !isRoot(place, files);
  const saysNothing = files.uid === 0 || place.includes(`/user@${files.uid}.service/`);
  const marks = ["user.delegate", "trusted.delegate"];
  if (isManaged && saysNothing && !marks.some((mark) => files.isMarked(place, mark))) {
    throw new NoPlace(`systemd manages ${place} and has not given it away (Delegate=memory)`);
  }
  const type = files.read(join(place, "cgroup.type"))?.trim() ?? "domain";
  if (type !== "domain") throw new NoPlace(`${place} is a group of type "${type}"`);
}

/** The root of all groups has no type, and may hold processes beside groups. */
function isRoot(place: string, files: CgroupFiles): boolean {
  return files.read(join(place, "cgroup.type")) === undefined;
}

/** Moves us, and what is below us, into a group below `place`, so that others can be made beside it. */
function leave(place: string, { files, pid, descendants }: PlaceOptions): void {
  const ours = new Set([pid, ...descendants(pid)]);
  const stranger = processesIn(place, files).find((each) => !ours.has(each));
  if (stranger !== undefined) {
    const advice = "start it in a unit of its own (systemd-run --user --scope -p Delegate=yes …)";
    throw new NoPlace(`process ${stranger}, which is not ours, is in ${place} as well: ${advice}`);
  }
  const leaf = join(place, `mesh-${pid}-node`);
  try {
    makeGroup(leaf, files);
    moveAll(place, leaf, files, () => new Set([pid, ...descendants(pid)]));
    enable(place, files);
  } catch (error) {
    goBack(place, leaf, files);
    if (error instanceof NoPlace) throw error;
    throw new NoPlace(`no groups can be made in ${place} (${(error as Error).message})`);
  }
}

/** Those that ours start while we do this appear in `from` again. */
function moveAll(from: string, to: string, files: CgroupFiles, ours: () => ReadonlySet<number>): void {
  for (let round = 0; round < MOVE_ROUNDS; round++) {
    const left = processesIn(from, files);
    if (left.length === 0) return;
    const known = ours();
    for (const each of left) {
      if (!known.has(each)) throw new NoPlace(`process ${each}, which is not ours, came into ${from}`);
      move(each, to, files);
    }
  }
  throw new NoPlace(`new processes appear in ${from} all the time`);
}

function goBack(place: string, leaf: string, files: CgroupFiles): void {
  try {
    for (const each of processesIn(leaf, files)) move(each, place, files);
    files.remove(leaf);
  } catch {
    // It stays: one more group, without a limit.
  }
}

/** One that has ended meanwhile is nobody to move. */
function move(pid: number, to: string, files: CgroupFiles): void {
  try {
    files.write(join(to, "cgroup.procs"), String(pid));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function enable(place: string, files: CgroupFiles): void {
  try {
    files.write(join(place, "cgroup.subtree_control"), "+memory");
  } catch (error) {
    throw new NoPlace(`memory cannot be switched on below ${place} (${(error as Error).message})`);
  }
}

/** Makes a group, or takes the one that an earlier process of the same id left. */
export function makeGroup(path: string, files: CgroupFiles): void {
  try {
    files.make(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** Removes groups of processes that are gone; the kernel keeps those that still hold somebody. */
function removeLeftovers(place: string, { files, pid }: PlaceOptions): void {
  for (const name of files.list(place)) {
    const maker = OWN_GROUP.exec(name)?.[1];
    if (maker === undefined || Number(maker) === pid || files.read(`/proc/${maker}/stat`) !== undefined) continue;
    try {
      files.remove(join(place, name));
    } catch {
      // the next one tries again
    }
  }
}

function processesIn(group: string, files: CgroupFiles): number[] {
  return (files.read(join(group, "cgroup.procs")) ?? "").split("\n").filter(Boolean).map(Number);
}

function controllers(files: CgroupFiles, group: string, name: string): string[] {
  return (files.read(join(group, name)) ?? "").trim().split(" ");
}
