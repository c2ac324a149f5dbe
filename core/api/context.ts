// What the API of a job stands on in the process it runs in: set once, before the job's code is loaded.
import { MeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import type { AnyFunction, FunctionDescription } from "../wire/travel.ts";
import type { NodeInfo, Self } from "./nodes.ts";
import type { Scheduler } from "./scheduler.ts";

export interface JobContext {
  node: Node;
  scheduler: Scheduler;
  describeFunction(fn: AnyFunction): FunctionDescription;
  /** Nesting depth of tasks called now. */
  callDepth(): number;
  self: Self;
  nodes(): Promise<NodeInfo[]>;
  args: readonly string[];
}

let current: JobContext | undefined;

export function setJobContext(context: JobContext): void {
  current = context;
}

/** Throws USAGE outside of `mesh run`. */
export function jobContext(): JobContext {
  if (current) return current;
  throw new MeshError("USAGE", "the mesh library works inside `mesh run SCRIPT` only: start this script with it");
}

/** As jobContext, without the error. */
export function maybeJobContext(): JobContext | undefined {
  return current;
}
