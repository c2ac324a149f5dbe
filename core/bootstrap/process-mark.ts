// Which process a process id meant when it was written down: ids are given out again.
import { readFileSync } from "node:fs";
import { parseStat } from "../worker/process-tree.ts";

/**
 * Names one process of this machine for good; undefined when it has ended. A zombie has. Reading it outside Linux starts
 * a `ps`.
 */
export function processMark(pid: number): string | undefined {
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  return process.platform === "linux" ? linuxMark(pid) : psMark(pid);
}

function linuxMark(pid: number): string | undefined {
  try {
    const stat = parseStat(readFileSync(`/proc/${pid}/stat`, "latin1"));
    if (!stat || stat.state === "X" || (stat.state === "Z" && stat.threads <= 1)) return undefined;
    return `${bootId()}:${stat.startTicks}`;
  } catch {
    return undefined;
  }
}

/** Start times count from the start of the machine. */
function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  } catch {
    return "";
  }
}

function psMark(pid: number): string | undefined {
  const { stdout } = Bun.spawnSync(["ps", "-o", "stat=,lstart=", "-p", String(pid)], { env: { LC_ALL: "C" } });
  const [state, ...start] = stdout.toString().trim().split(/\s+/);
  return !state || state.startsWith("Z") ? undefined : start.join(" ");
}
