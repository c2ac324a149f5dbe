// Memory limits of slots that the kernel holds (cgroup v2), where this process may make groups. Elsewhere there is the
// watch (memory-watch.ts) alone, which also stands behind this one: a group is charged only for what a process takes after it
// was put there.
import { join } from "node:path";
import { type Clock, systemClock } from "../clock.ts";
import { type CgroupFiles, systemFiles } from "./cgroup-files.ts";
import { makeGroup, type PlaceOptions, takePlace } from "./cgroup-place.ts";
import type { Death } from "./death.ts";
import { descendantsOf } from "./process-tree.ts";

/** The last processes of a group take a moment to vanish. */
const REMOVE_TRIES = 40;
const REMOVE_RETRY_MS = 50;

/** Looks for children that were started before their parent was in its group. */
const PLACE_ROUNDS = 10;

/** One slot's group. */
export interface SlotGroup {
  /** Resolves when the slot is in it, with false when the kernel refused that; then there is only the watch. */
  readonly placed: Promise<boolean>;
  /** The cause, when the kernel has killed processes in it for memory. Ask before `remove`. */
  death(): Death | undefined;
  /** Kills what is left in it and removes it. Resolves with false when it could not: the next process of mesh tries again. */
  remove(clock: Clock): Promise<boolean>;
}

export interface MemoryLimiter {
  /** "cgroup": the kernel holds the limit; "watch": only we look after it. */
  kind: "cgroup" | "watch";
  /** For people: where the groups are, or why there are none. */
  description: string;
  /** Puts a process and what it starts under a limit. Undefined where groups cannot be made. Never throws. */
  limit(pid: number, slot: number, limitBytes: number): SlotGroup | undefined;
}

export interface LimiterOptions {
  files?: CgroupFiles;
  pid?: number;
  descendants?: PlaceOptions["descendants"];
}

let own: MemoryLimiter | undefined;

/** This process's limiter. The first call looks for a place, and may move this process into a group of its own. Never throws. */
export function memoryLimiter(): MemoryLimiter {
  own ??= makeLimiter();
  return own;
}

/** As memoryLimiter, made anew; for tests. */
export function makeLimiter(options: LimiterOptions = {}): MemoryLimiter {
  const { files = systemFiles, pid = process.pid, descendants = descendantsOf } = options;
  try {
    const place = takePlace({ files, pid, descendants });
    return {
      kind: "cgroup",
      description: `the kernel holds the memory limits of slots (cgroup v2, groups in ${place})`,
      limit(child, slot, limitBytes) {
        const group = join(place, `mesh-${pid}-slot-${slot}`);
        return prepare(files, group, limitBytes) ? groupOf(files, group, child, limitBytes, descendants) : undefined;
      },
    };
  } catch (error) {
    const why = (error as Error).message;
    const description = `memory limits of slots are watched 20 times a second, not held by the kernel: ${why}`;
    return { kind: "watch", description, limit: () => undefined };
  }
}

/** Makes the group, with its limit and without processes. */
function prepare(files: CgroupFiles, group: string, limitBytes: number): boolean {
  try {
    makeGroup(group, files);
    files.write(join(group, "memory.max"), String(limitBytes));
  } catch {
    void remove(files, group, systemClock);
    return false;
  }
  attempt(files, join(group, "memory.swap.max"), "0"); // absent where the kernel does not count swap
  attempt(files, join(group, "memory.oom.group"), "1"); // since Linux 4.19
  return true;
}

function groupOf(
  files: CgroupFiles,
  group: string,
  pid: number,
  limitBytes: number,
  descendants: PlaceOptions["descendants"],
): SlotGroup {
  const placed = fill(files, group, pid, descendants);
  return {
    placed,
    death: () => deathIn(files, group, limitBytes),
    async remove(clock) {
      await placed;
      return remove(files, group, clock);
    },
  };
}

/** Moves `pid` and all below it; what they start from then on is in the group by itself. */
async function fill(
  files: CgroupFiles,
  group: string,
  pid: number,
  descendants: PlaceOptions["descendants"],
): Promise<boolean> {
  const move = (each: number) => files.writeLater(join(group, "cgroup.procs"), String(each));
  const moved = new Set([pid]);
  try {
    await move(pid);
    for (let round = 0; round < PLACE_ROUNDS; round++) {
      const fresh = descendants(pid).filter((each) => !moved.has(each));
      if (fresh.length === 0) break;
      for (const each of fresh) {
        moved.add(each);
        await move(each).catch(() => {}); // it has ended
      }
    }
    return true;
  } catch {
    return false;
  }
}

function deathIn(files: CgroupFiles, group: string, limitBytes: number): Death | undefined {
  const events = files.read(join(group, "memory.events")) ?? "";
  const count = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(events)?.[1] ?? 0);
  if (count("oom_kill") === 0) return undefined;
  // Without an "oom" of its own it was chosen when a group around it, or the machine, had no memory left.
  return count("oom") > 0 ? { kind: "out-of-memory", by: "mesh", limitBytes } : { kind: "out-of-memory", by: "kernel" };
}

async function remove(files: CgroupFiles, group: string, clock: Clock): Promise<boolean> {
  for (let tries = 0; tries < REMOVE_TRIES; tries++) {
    attempt(files, join(group, "cgroup.kill"), "1"); // since Linux 5.14; without it the sweep of strays empties the group
    try {
      files.remove(group);
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") return true;
      if (code !== "EBUSY") return false;
    }
    await new Promise<void>((resolve) => void clock.after(REMOVE_RETRY_MS, resolve));
  }
  return false;
}

function attempt(files: CgroupFiles, path: string, text: string): void {
  try {
    files.write(path, text);
  } catch {
    // not in this kernel, or not needed any more
  }
}
