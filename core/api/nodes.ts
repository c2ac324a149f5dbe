// Who is in the mesh, and who this process is in it.
import { MeshError } from "../errors.ts";
import { checkKeys, checkSignal, checkWhole, describe } from "./check.ts";
import { jobContext, maybeJobContext, type Self } from "./context.ts";
import type { NodeInfo, NodeListener, WaitOptions } from "./node-view.ts";
import { asCalled } from "./task-error.ts";

/** Lists the nodes of the mesh, as far as this process knows now. */
export async function nodes(): Promise<NodeInfo[]> {
  return [...jobContext().view.list];
}

/**
 * Calls `listener` with each node that comes ("online") or goes ("offline") from now on. Returns what ends that. Does not
 * keep the process from ending.
 */
export function onNode(listener: NodeListener): () => void {
  return asCalled(() => {
    if (typeof listener === "function") return jobContext().view.listen(listener);
    throw new MeshError("USAGE", `onNode takes a function, not ${describe(listener)}`);
  });
}

/**
 * Waits until a node of that name is up and returns it. Throws TIMEOUT after `timeoutMs` (default 30,000), naming the
 * nearest name there is, or CANCELLED.
 */
export async function locateNode(name: string, options: WaitOptions = {}): Promise<NodeInfo> {
  const { node, view } = asCalled(() => {
    if (typeof name !== "string") throw new MeshError("USAGE", `locateNode takes a name, not ${describe(name)}`);
    checkKeys("locateNode", options, ["timeoutMs", "signal"]);
    checkWhole("locateNode: timeoutMs", options.timeoutMs, 1, 0x7fffffff);
    checkSignal("locateNode", options.signal);
    return jobContext();
  });
  node.hold(); // what waits for it is not over
  try {
    return await view.locate(name, options);
  } finally {
    node.release();
  }
}

const outside: Self = { node: "", slot: 0, isDriver: true, job: 0 };

/** This process in the mesh. */
export const self: Readonly<Self> = new Proxy(outside, {
  get: (_, key) => (maybeJobContext()?.self ?? outside)[key as keyof Self],
  ownKeys: () => Object.keys(outside),
});

/** The script's arguments: what stands after it on the command line. The same in tasks as in the script. */
export const args: readonly string[] = new Proxy([] as string[], {
  get: (none, key) => Reflect.get(maybeJobContext()?.args ?? none, key),
  has: (none, key) => Reflect.has(maybeJobContext()?.args ?? none, key),
});
