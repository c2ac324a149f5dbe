// Whether tests may make real cgroups with a memory limit here.
import { systemFiles } from "../../core/worker/cgroup-files.ts";

/** Why not; undefined when they may. */
export function whyNoMemoryGroups(): string | undefined {
  if (process.platform !== "linux") return "cgroups are Linux's";
  if (systemFiles.uid !== 0) return "making cgroups outside one's own takes root";
  const place = "/sys/fs/cgroup";
  if (systemFiles.read(`${place}/cgroup.controllers`) === undefined) return `there is no cgroup v2 at ${place}`;
  if (!systemFiles.isWritable(`${place}/cgroup.procs`)) return `${place} is mounted read-only`;
  const isOn = systemFiles.read(`${place}/cgroup.subtree_control`)?.split(/\s/).includes("memory");
  return isOn ? undefined : `the memory controller is not switched on below ${place}`;
}
