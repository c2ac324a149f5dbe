import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { makeLimiter, memoryLimiter } from "../../core/worker/cgroup.ts";
import { systemFiles } from "../../core/worker/cgroup-files.ts";
import { describeDeath } from "../../core/worker/death.ts";
import { FakeCgroups } from "./fake-cgroups.ts";
import { whyNoMemoryGroups } from "./memory-groups.ts";

const OWN = "/system.slice/mesh-worker.service";
const PLACE = `/sys/fs/cgroup${OWN}`;
const NODE = 500;
const SLOT = 501;
const MIB = 1024 * 1024;

/** A worker in a unit that was given to it, with one slot that was started before. */
function service(): FakeCgroups {
  return new FakeCgroups(OWN, [NODE, SLOT]);
}

/** Lets everything run that waits for no timer. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function limiterOf(files: FakeCgroups, descendants = (pid: number) => (pid === NODE ? [SLOT] : [])) {
  return makeLimiter({ files, pid: NODE, descendants });
}

it("memoryLimiter (F84, X14): in a unit of its own it makes room for groups, and moves itself and its slots out of the way", async () => {
  const files = service();
  const limiter = limiterOf(files);
  expect(limiter.kind).toBe("cgroup");
  expect(limiter.description).toBe(`the kernel holds the memory limits of slots (cgroup v2, groups in ${PLACE})`);
  expect([NODE, SLOT].map((pid) => files.placeOf(pid))).toEqual([`${PLACE}/mesh-500-node`, `${PLACE}/mesh-500-node`]);
  expect(await limiter.limit(SLOT, 3, 512 * MIB)?.placed).toBe(true);
  expect(files.placeOf(SLOT)).toBe(`${PLACE}/mesh-500-slot-3`);
  expect(Object.fromEntries(files.group(`${PLACE}/mesh-500-slot-3`).memory)).toEqual({
    "memory.max": "536870912",
    "memory.swap.max": "0",
    "memory.oom.group": "1",
  });
});

it("memoryLimiter (F84): processes that ours start while they are moved are moved as well", () => {
  const files = service();
  let next = 600;
  const descendants = (_pid: number) => [SLOT, ...Array.from({ length: next - 600 }, (_, n) => 600 + n)];
  files.beforeWrite = (path) => {
    if (path.endsWith("mesh-500-node/cgroup.procs") && next < 603) files.start(next++, PLACE);
  };
  expect(limiterOf(files, descendants).kind).toBe("cgroup");
  expect([600, 601, 602].map((pid) => files.placeOf(pid))).toEqual(Array(3).fill(`${PLACE}/mesh-500-node`));
});

it("memoryLimiter (F84): a kernel without swap accounting, group kills or cgroup.kill holds the limit all the same", async () => {
  const files = service();
  for (const name of ["memory.swap.max", "memory.oom.group", "cgroup.kill"]) files.missing.add(name);
  const group = limiterOf(files).limit(SLOT, 1, MIB);
  expect(files.group(`${PLACE}/mesh-500-slot-1`).memory.get("memory.max")).toBe("1048576");
  files.end(SLOT);
  expect(await group?.remove(new ManualClock())).toBe(true);
});

it("memoryLimiter (F84): started in a subgroup of its unit (DelegateSubgroup=), it makes groups beside that", () => {
  const files = new FakeCgroups(`${OWN}/supervisor`, [NODE]);
  files.group(PLACE).isMemoryOnBelow = false;
  const limiter = limiterOf(files);
  expect(limiter.description).toContain(`groups in ${PLACE})`);
  expect(files.placeOf(NODE)).toBe(`${PLACE}/supervisor`);
});

it("memoryLimiter (F84): in the group of a user's slice it makes none beside the user's other programs", () => {
  const slice = "/user.slice/user-1000.slice/user@1000.service/app.slice";
  const files = new FakeCgroups(`${slice}/app-terminal-7.scope`, [NODE]);
  files.files.set("/run/systemd/system/x", "");
  const limiter = limiterOf(files);
  expect(limiter.kind).toBe("watch");
  expect([...files.groups.keys()].filter((path) => path.includes("mesh"))).toEqual([]);
  files.marked.add(`/sys/fs/cgroup${slice}/app-terminal-7.scope user.delegate`);
  expect(limiterOf(files).kind).toBe("cgroup");
});

it("memoryLimiter (F84): as root in what systemd manages, only where that was given away", () => {
  const files = service();
  files.uid = 0;
  files.files.set("/run/systemd/system/x", "");
  expect(limiterOf(files).description).toContain(
    `systemd manages ${PLACE} and has not given it away (Delegate=memory)`,
  );
  expect(files.placeOf(NODE)).toBe(PLACE);
  files.marked.add(`${PLACE} trusted.delegate`);
  expect(limiterOf(files).kind).toBe("cgroup");
});

it("memoryLimiter (F84): in the root of all groups it uses what is switched on, and switches nothing on", async () => {
  const files = new FakeCgroups("/", [1, 2, NODE]);
  files.uid = 0;
  expect(limiterOf(files).description).toContain("not switched on below /sys/fs/cgroup");
  files.group("/sys/fs/cgroup").isMemoryOnBelow = true;
  const limiter = limiterOf(files);
  expect(await limiter.limit(NODE, 1, MIB)?.placed).toBe(true);
  expect(files.placeOf(NODE)).toBe("/sys/fs/cgroup/mesh-500-slot-1");
  expect(files.placeOf(1)).toBe("/sys/fs/cgroup");
});

it("memoryLimiter (F84): reads where cgroup v2 is mounted, also with a space in it and below a root of its own", () => {
  const files = new FakeCgroups(OWN, [NODE], "/mnt/my groups");
  expect(limiterOf(files).description).toContain(`groups in /mnt/my groups${OWN})`);
  const contained = new FakeCgroups("/x.service", [NODE]);
  contained.files.set("/proc/self/cgroup", "0::/docker/77/x.service\n");
  const mount = "31 22 0:27 /docker/77 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  contained.files.set("/proc/self/mountinfo", mount);
  expect(limiterOf(contained).description).toContain("groups in /sys/fs/cgroup/x.service)");
});

const refused: [string, (files: FakeCgroups) => void, RegExp][] = [
  ["there is no cgroup v2", (files) => files.files.set("/proc/self/cgroup", "3:cpu:/\n"), /no cgroup v2/],
  [
    "cgroup v1 has the memory controller",
    (files) => files.files.set("/proc/self/cgroup", `9:cpu,memory:/x\n0::${OWN}\n`),
    /managed by cgroup v1/,
  ],
  ["there is no /proc", (files) => files.files.clear(), /no cgroup v2/],
  ["cgroup v2 is mounted nowhere", (files) => files.files.set("/proc/self/mountinfo", ""), /not to be seen/],
  [
    "it is in a group outside what it sees",
    (files) => files.files.set("/proc/self/cgroup", "0::/../x\n"),
    /not to be seen/,
  ],
  ["its group was removed", (files) => files.files.set("/proc/self/cgroup", `0::${OWN} (deleted)\n`), /not to be seen/],
  [
    "memory was not given to it",
    (files) => {
      files.group("/sys/fs/cgroup/system.slice").isMemoryOnBelow = false;
    },
    /the memory controller was not given to/,
  ],
  ["the folder belongs to somebody else", (files) => files.locked.add(PLACE), /may not write/],
  [
    "its processes may not be moved",
    (files) => files.locked.add(`${PLACE}/cgroup.procs`),
    /may not write .*cgroup.procs/,
  ],
  ["somebody else is in its group", (files) => files.start(77, PLACE), /process 77, which is not ours, is in/],
  ["a process of another container is in its group", (files) => files.start(0, PLACE), /process 0, which is not ours/],
  [
    "somebody else comes in meanwhile",
    (files) => {
      files.beforeWrite = (path) => path.endsWith("node/cgroup.procs") && files.start(78, PLACE);
    },
    /process 78, which is not ours, came into/,
  ],
  [
    "the kernel refuses to switch memory on",
    (files) => {
      files.beforeWrite = (path) => {
        if (path.endsWith("subtree_control")) throw new Error("EBUSY: no");
      };
    },
    /memory cannot be switched on below .* \(EBUSY: no\)/,
  ],
  [
    "the kernel refuses the move",
    (files) => {
      files.beforeWrite = (path) => {
        if (path.endsWith("node/cgroup.procs")) throw new Error("EPERM: no");
      };
    },
    /no groups can be made in .* \(EPERM: no\)/,
  ],
];

it.each(refused)("memoryLimiter (F84): where %s, all stays as it was and the watch is left", (_what, change, words) => {
  const files = service();
  change(files);
  const before = [...files.groups.keys()];
  const limiter = limiterOf(files);
  expect(limiter.kind).toBe("watch");
  expect(limiter.description).toMatch(words);
  expect(limiter.limit(SLOT, 1, MIB)).toBeUndefined();
  expect([...files.groups.keys()]).toEqual(before);
  expect([NODE, SLOT].map((pid) => files.placeOf(pid))).toEqual([PLACE, PLACE]);
});

it("memoryLimiter (F84): leftovers of dead processes of mesh are removed, and nothing else", () => {
  const files = service();
  files.start(42, "/sys/fs/cgroup"); // alive, and elsewhere
  const names = ["mesh-41-node", "mesh-41-slot-1", "mesh-42-slot-1", "mesh-43-slot-9", "mesh-44-data", "other"];
  for (const name of names) files.make(`${PLACE}/${name}`);
  files.start(900, `${PLACE}/mesh-43-slot-9`); // a daemon that outlived its slot
  expect(limiterOf(files).kind).toBe("cgroup");
  const left = ["mesh-42-slot-1", "mesh-43-slot-9", "mesh-44-data", "mesh-500-node", "other"];
  expect(files.list(PLACE).sort()).toEqual(left);
});

it("memoryLimiter (F84): a group left by a dead process of our own id is taken", async () => {
  const files = service();
  for (const name of ["mesh-500-node", "mesh-500-slot-1"]) files.make(`${PLACE}/${name}`);
  expect(await limiterOf(files).limit(SLOT, 1, MIB)?.placed).toBe(true);
  expect(files.placeOf(SLOT)).toBe(`${PLACE}/mesh-500-slot-1`);
});

it("SlotGroup (F84): a slot that has ended before it was put there is left to the watch, and its group removed", async () => {
  const files = service();
  const limiter = limiterOf(files);
  files.end(SLOT);
  const group = limiter.limit(SLOT, 1, MIB);
  expect(await group?.placed).toBe(false);
  expect(await group?.remove(new ManualClock())).toBe(true);
  expect(files.list(PLACE)).toEqual(["mesh-500-node"]);
});

it("SlotGroup (F84): what a slot started before it was put there is put there, too", async () => {
  const files = service();
  const below = [510, 511];
  for (const pid of below) files.start(pid, PLACE);
  const limiter = limiterOf(files, (pid) => (pid === NODE ? [SLOT, ...below] : pid === SLOT ? below : []));
  files.beforeWrite = (path, pid) => {
    // Meanwhile one of them starts another one, and one ends.
    if (!path.includes("slot-1/cgroup.procs") || pid !== "510") return;
    below.push(512);
    files.start(512, `${PLACE}/mesh-500-node`);
    files.end(511);
  };
  expect(await limiter.limit(SLOT, 1, MIB)?.placed).toBe(true);
  const group = `${PLACE}/mesh-500-slot-1`;
  expect([SLOT, 510, 511, 512].map((pid) => files.placeOf(pid))).toEqual([group, group, undefined, group]);
});

it.each([
  ["no event", "", undefined],
  ["a limit that was reached and made room", "low 0\nhigh 0\nmax 9\noom 0\noom_kill 0\n", undefined],
  [
    "its own limit",
    "max 90\noom 1\noom_kill 2\noom_group_kill 1\n",
    "ran out of memory: it passed its limit of 512 MiB",
  ],
  [
    "a machine without memory",
    "max 0\noom 0\noom_kill 1\n",
    "ran out of memory: the kernel of its host had none left and ended it",
  ],
])("SlotGroup (F84, X14): the cause of death with %s", (_what, events, words) => {
  const files = service();
  const group = limiterOf(files).limit(SLOT, 1, 512 * MIB);
  files.group(`${PLACE}/mesh-500-slot-1`).memory.set("memory.events", events);
  const death = group?.death();
  expect(death && describeDeath(death)).toBe(words);
});

it("SlotGroup (F84): is removed once its last process has vanished, and with it what the slot left", async () => {
  const files = service();
  const clock = new ManualClock();
  const group = limiterOf(files).limit(SLOT, 1, MIB);
  files.start(700, `${PLACE}/mesh-500-slot-1`); // a daemon of the slot
  files.missing.add("cgroup.kill"); // an old kernel: somebody else ends it
  const removed = group?.remove(clock);
  await group?.placed;
  const ticks = async (count: number) => {
    for (let n = 0; n < count; n++) {
      await turn();
      clock.advance(50);
    }
    await turn();
  };
  await ticks(5);
  expect(files.list(PLACE)).toContain("mesh-500-slot-1");
  for (const pid of [SLOT, 700]) files.end(pid);
  await ticks(1);
  expect(await removed).toBe(true);
  expect(files.list(PLACE)).toEqual(["mesh-500-node"]);
});

it("SlotGroup (F84): kills what is left where the kernel can, and gives up on what never vanishes", async () => {
  const files = service();
  const limiter = limiterOf(files);
  const clock = new ManualClock();
  const group = limiter.limit(SLOT, 1, MIB);
  expect(await group?.remove(clock)).toBe(true);
  expect(files.placeOf(SLOT)).toBeUndefined();
  files.start(701, PLACE.replace(OWN, ""));
  const stuck = limiter.limit(701, 2, MIB);
  files.missing.add("cgroup.kill");
  let result: boolean | undefined;
  void stuck?.remove(clock).then((done) => {
    result = done;
  });
  for (let n = 0; n < 100; n++) {
    await turn();
    clock.advance(50);
  }
  await turn();
  expect(result).toBe(false);
});

it("memoryLimiter (F84): on this machine it says what it does, and is one for the process", () => {
  const limiter = memoryLimiter();
  expect(limiter.description).toMatch(
    limiter.kind === "cgroup" ? /^the kernel holds/ : /^memory limits .* are watched .*: ./,
  );
  expect(memoryLimiter()).toBe(limiter);
});

it("systemFiles (F84): read, write, make and remove what is there, and say what is not", () => {
  const folder = mkdtempSync(join(tmpdir(), "mesh-cgroup-"));
  try {
    const file = join(folder, "memory.max");
    writeFileSync(file, "max\n");
    expect(systemFiles.read(file)).toBe("max\n");
    systemFiles.write(file, "7");
    expect(systemFiles.read(file)).toMatch(/^7/);
    expect([file, folder, join(folder, "none")].map(systemFiles.isWritable)).toEqual([true, true, false]);
    expect(systemFiles.read(join(folder, "none"))).toBeUndefined();
    // A control file that a kernel lacks is not made.
    expect(() => systemFiles.write(join(folder, "none"), "1")).toThrow(/ENOENT/);
    systemFiles.make(join(folder, "group"));
    expect(() => systemFiles.make(join(folder, "group"))).toThrow(/EEXIST/);
    expect(systemFiles.list(folder).sort()).toEqual(["group", "memory.max"]);
    systemFiles.remove(join(folder, "group"));
    expect(systemFiles.list(join(folder, "group"))).toEqual([]);
    expect(systemFiles.isMarked(folder, "user.delegate")).toBe(false);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const why = whyNoMemoryGroups();
if (why) console.warn(`the tests of real memory groups are skipped: ${why}`);

it.skipIf(why)(
  "memoryLimiter (F84, X14): the kernel ends a slot that takes more than its limit, and the group is gone",
  async () => {
    const fixture = join(import.meta.dirname, "../fixtures/worker/limited.ts");
    const program = Bun.spawn([process.execPath, fixture], { stdout: "pipe", stderr: "inherit" });
    const said = JSON.parse(await new Response(program.stdout).text());
    expect(said).toEqual({
      kind: "cgroup",
      signal: "SIGKILL",
      death: { kind: "out-of-memory", by: "mesh", limitBytes: 150 * MIB },
      childIsGone: true,
      neighbour: "alive",
      removed: [true, true],
      left: ["node"],
    });
  },
);
