// A kernel's cgroup v2, as far as core/worker/cgroup.ts meets it, with the rules that refuse things.
import { dirname } from "node:path";
import type { CgroupFiles } from "../../core/worker/cgroup-files.ts";

interface Group {
  processes: Set<number>;
  isMemoryOnBelow: boolean;
  memory: Map<string, string>;
}

function refusal(code: string): Error {
  return Object.assign(new Error(`${code}: the kernel says no`), { code });
}

const MEMORY_FILES = ["memory.max", "memory.swap.max", "memory.oom.group", "memory.events"];

export class FakeCgroups implements CgroupFiles {
  /** Paths of groups; the first is the root. */
  readonly groups = new Map<string, Group>();
  /** Other files, by path. */
  readonly files = new Map<string, string>();
  readonly locked = new Set<string>();
  readonly marked = new Set<string>();
  /** Files this kernel does not have, by name. */
  readonly missing = new Set<string>();
  /** Runs before each write: for what happens meanwhile. */
  beforeWrite: (path: string, text: string) => void = () => {};
  uid = 1000;
  readonly #root: string;

  /** The groups on the way to `own` are made, with memory switched on above it; `pids` are in `own`. */
  constructor(own: string, pids: number[], mount = "/sys/fs/cgroup") {
    this.#root = mount;
    this.files.set("/proc/self/cgroup", `0::${own}\n`);
    this.files.set(
      "/proc/self/mountinfo",
      `22 1 0:20 / /proc rw - proc proc rw\n31 22 0:27 / ${mount.replaceAll(" ", "\\040")} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n`,
    );
    let path = mount;
    this.#add(path).isMemoryOnBelow = own !== "/";
    const names = own.split("/").filter(Boolean);
    for (const [n, name] of names.entries()) {
      path = `${path}/${name}`;
      this.#add(path).isMemoryOnBelow = n < names.length - 1;
    }
    for (const pid of pids) this.start(pid, path);
  }

  /** A process appears. */
  start(pid: number, group: string): void {
    this.files.set(`/proc/${pid}/stat`, `${pid} (mesh) S`);
    this.group(group).processes.add(pid);
  }

  /** And is gone. */
  end(pid: number): void {
    this.files.delete(`/proc/${pid}/stat`);
    for (const { processes } of this.groups.values()) processes.delete(pid);
  }

  group(path: string): Group {
    const group = this.groups.get(path);
    if (!group) throw refusal("ENOENT");
    return group;
  }

  /** Where a process is. */
  placeOf(pid: number): string | undefined {
    return [...this.groups].find(([, { processes }]) => processes.has(pid))?.[0];
  }

  read(path: string): string | undefined {
    const { group, name } = this.#split(path);
    if (!group || this.missing.has(name)) return this.files.get(path);
    const isRoot = dirname(path) === this.#root;
    if (name === "cgroup.type") return isRoot ? undefined : "domain\n";
    if (name === "cgroup.procs") return [...group.processes].map((pid) => `${pid}\n`).join("");
    if (name === "cgroup.controllers") return this.#hasMemory(dirname(path)) ? "cpu memory pids\n" : "cpu pids\n";
    if (name === "cgroup.subtree_control") return group.isMemoryOnBelow ? "memory\n" : "\n";
    return group.memory.get(name);
  }

  write(path: string, text: string): void {
    this.beforeWrite(path, text);
    const { group, name } = this.#split(path);
    if (!group || this.missing.has(name)) throw refusal("ENOENT");
    if (this.locked.has(path)) throw refusal("EACCES");
    const isRoot = dirname(path) === this.#root;
    if (name === "cgroup.procs") {
      if (!this.files.has(`/proc/${text}/stat`)) throw refusal("ESRCH");
      if (group.isMemoryOnBelow && !isRoot) throw refusal("EBUSY");
      for (const { processes } of this.groups.values()) processes.delete(Number(text));
      group.processes.add(Number(text));
    } else if (name === "cgroup.subtree_control") {
      if (group.processes.size > 0 && !isRoot) throw refusal("EBUSY");
      if (text !== "+memory" || !this.#hasMemory(dirname(path))) throw refusal("ENOENT");
      group.isMemoryOnBelow = true;
    } else if (name === "cgroup.kill") for (const pid of group.processes) this.end(pid);
    else if (MEMORY_FILES.includes(name) && this.groups.get(dirname(dirname(path)))?.isMemoryOnBelow) {
      group.memory.set(name, text);
    } else throw refusal("ENOENT");
  }

  async writeLater(path: string, text: string): Promise<void> {
    this.write(path, text);
  }

  isWritable(path: string): boolean {
    return !this.locked.has(path);
  }

  list(path: string): string[] {
    const all = [...this.groups.keys(), ...this.files.keys()];
    const below = all.filter((each) => each.startsWith(`${path}/`)).map((each) => each.slice(path.length + 1));
    return [...new Set(below.map((each) => each.split("/")[0]!))];
  }

  make(path: string): void {
    if (this.groups.has(path)) throw refusal("EEXIST");
    if (!this.groups.has(dirname(path))) throw refusal("ENOENT");
    if (this.locked.has(dirname(path))) throw refusal("EACCES");
    this.#add(path);
  }

  remove(path: string): void {
    const isParent = [...this.groups.keys()].some((each) => each.startsWith(`${path}/`));
    if (this.group(path).processes.size > 0 || isParent) throw refusal("EBUSY");
    this.groups.delete(path);
  }

  isMarked(path: string, attribute: string): boolean {
    return this.marked.has(`${path} ${attribute}`);
  }

  #add(path: string): Group {
    const group = { processes: new Set<number>(), isMemoryOnBelow: false, memory: new Map<string, string>() };
    this.groups.set(path, group);
    return group;
  }

  #split(path: string): { group: Group | undefined; name: string } {
    return { group: this.groups.get(dirname(path)), name: path.slice(dirname(path).length + 1) };
  }

  #hasMemory(path: string): boolean {
    return path === this.#root || (this.groups.get(dirname(path))?.isMemoryOnBelow ?? false);
  }
}
