// Network namespaces of a test process, named after it, so that what a killed one left is known and removed.
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kill } from "../support/mesh.ts";

const PREFIX = "mesh-lab-";
const NAMESPACES = "/run/netns";
let made = 0;

/** What a lab needs and this machine lacks, as a reason to skip a test; undefined when nothing is missing. */
export function missingForLab(): string | undefined {
  if (process.getuid?.() !== 0) return "only root can make network namespaces";
  for (const tool of ["ip", "iptables", "ip6tables", "unshare"]) {
    if (!Bun.which(tool)) return `${tool} is not installed (Debian: iproute2, iptables, util-linux)`;
  }
  const name = `${PREFIX}${process.pid}-probe`;
  const tried = Bun.spawnSync(["ip", "netns", "add", name]);
  Bun.spawnSync(["ip", "netns", "del", name]);
  return tried.exitCode === 0 ? undefined : `no network namespaces here: ${tried.stderr.toString().trim()}`;
}

/** As missingForLab, for routers that translate addresses. */
export function missingForNatLab(): string | undefined {
  const missing = missingForLab();
  const tool = ["ipset", "conntrack"].find((name) => !Bun.which(name));
  return missing ?? (tool && `${tool} is not installed (Debian: ipset, conntrack)`);
}

/** A name that all namespaces (and the folder) of one lab begin with. What killed tests left behind is removed first. */
export function labId(): string {
  removeLeftovers();
  return `${PREFIX}${process.pid}-${made++}`;
}

/** Runs a command to its end; throws when it fails. Returns what it printed. */
export function run(...command: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr.toString().trim()}`);
  return stdout.toString().trim();
}

/** Ends every process in the lab's namespaces, and removes those and its folder. */
export function removeLab(id: string): void {
  removeAll((name) => name.startsWith(`${id}-`));
  rmSync(join(tmpdir(), id), { recursive: true, force: true });
}

/** The processes in a namespace of the network; none when there is no such namespace. */
export function processesIn(namespace: string): number[] {
  const pids = Bun.spawnSync(["ip", "netns", "pids", namespace]).stdout.toString().trim();
  return pids
    .split("\n")
    .filter((pid) => pid !== "")
    .map(Number);
}

/** The command line of a process; empty when it is gone or a zombie. */
export function commandOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
  } catch {
    return [];
  }
}

/**
 * The command that runs another one in a namespace, with `name` as the machine's name. Every process in between becomes the next, so
 * the one that is started is the one that was meant.
 */
export function throughOf(namespace: string, name: string): string[] {
  const named = 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"';
  return ["ip", "netns", "exec", namespace, "unshare", "--uts", "sh", "-c", named, name];
}

/** Of test processes that are gone. */
function removeLeftovers(): void {
  const isLeft = (name: string) => {
    const pid = /^mesh-lab-(\d+)-/.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  removeAll(isLeft);
  for (const name of readdirSync(tmpdir()).filter(isLeft))
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
}

function removeAll(isMeant: (name: string) => boolean): void {
  if (!existsSync(NAMESPACES)) return;
  for (const name of readdirSync(NAMESPACES).filter(isMeant)) {
    for (const pid of processesIn(name)) kill(pid, "SIGKILL");
    Bun.spawnSync(["ip", "netns", "del", name]);
  }
}
