// More nodes on this machine for a job, and the end of nodes.
import { MeshError } from "../errors.ts";
import { MessageType } from "../wire/message-types.ts";
import { checkKeys, checkWait, checkWhole, describe } from "./check.ts";
import { jobContext } from "./context.ts";
import type { NodeInfo, WaitOptions } from "./node-view.ts";
import { asCalled } from "./task-error.ts";

export interface ForkOptions extends WaitOptions {
  /** Slots of each, 1 to 4,096. Default 1. */
  slots?: number;
}

export interface ShutdownOptions extends WaitOptions {
  /** What the node gets to end by itself, in milliseconds. Default 5,000. */
  graceMs?: number;
}

/** slot -> head: start nodes on its machine; answered with their names. */
export interface Fork {
  count: number;
  slots: number;
}

/** slot -> head: end a node. */
export interface ShutdownNode {
  name: string;
  graceMs: number;
}

const FORK_LIMIT = 64;

/**
 * Starts 1 to 64 more nodes on the machine of the job's head, each a process tree of its own with its own slots; resolves
 * when all are up. They serve this job alone, end with it, and are known to the processes on that machine. Throws
 * USAGE, TIMEOUT, CANCELLED, or UNREACHABLE when one cannot be started.
 */
export async function fork(count = 1, options: ForkOptions = {}): Promise<NodeInfo[]> {
  const { node, self, view, head } = asCalled(() => {
    checkWhole("fork: the number of nodes", count, 1, FORK_LIMIT);
    checkKeys("fork", options, ["slots", "timeoutMs", "signal"]);
    checkWhole("fork: slots", options.slots, 1, 4_096);
    checkWait("fork", options);
    return jobContext();
  });
  if (!self.isDriver) throw new MeshError("USAGE", "fork is for the script itself: a task may run on any machine");
  const { slots = 1, ...wait } = options;
  const body: Fork = { count, slots };
  const names = (await node.request(head, MessageType.fork, body, wait)) as string[];
  return await Promise.all(names.map((name) => view.locate(name, wait)));
}

/**
 * Ends a node, its slots and all they started, and resolves when it is gone: one that fork made, or a worker of the mesh,
 * for everybody. Throws USAGE for the name of no node, TIMEOUT or CANCELLED.
 */
export async function shutdown(target: string | NodeInfo, options: ShutdownOptions = {}): Promise<void> {
  const { node, head } = asCalled(() => {
    checkKeys("shutdown", options, ["graceMs", "timeoutMs", "signal"]);
    checkWhole("shutdown: graceMs", options.graceMs, 0, 0x7fffffff);
    checkWait("shutdown", options);
    return jobContext();
  });
  const name = typeof target === "string" ? target : (target as NodeInfo | undefined)?.name;
  if (typeof name !== "string") {
    throw new MeshError("USAGE", `shutdown takes a node or its name, not ${describe(target)}`);
  }
  const { graceMs = 5_000, ...wait } = options;
  const body: ShutdownNode = { name, graceMs };
  await node.request(head, MessageType.shutdownNode, body, wait);
}
