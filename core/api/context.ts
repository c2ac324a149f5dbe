// What the API of a job stands on in the process it runs in: set once, before the job's code is loaded.
import { MeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import type { AnyFunction, FunctionDescription } from "../wire/travel.ts";
import type { NodeView } from "./node-view.ts";
import type { Scheduler } from "./scheduler.ts";

export type { NodeInfo } from "./node-view.ts";

/** The process that asks. */
export interface Self {
  /** Name of its node. */
  node: string;
  /** 0 in the script itself, otherwise the number of the slot on its node, from 1. */
  slot: number;
  /** Whether this is the script itself and not a task. */
  isDriver: boolean;
  /** Number of the job. */
  job: number;
}

export interface JobContext {
  node: Node;
  scheduler: Scheduler;
  describeFunction(fn: AnyFunction): FunctionDescription;
  /** As TravelRegistry.localNames. */
  localNames(fn: AnyFunction): readonly string[];
  /** Nesting depth of tasks called now. */
  callDepth(): number;
  self: Self;
  /** The head of the job. */
  head: Address;
  /** Who is in the mesh. */
  view: NodeView;
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
