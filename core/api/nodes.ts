// Who is in the mesh, and who this process is in it.
import { jobContext, maybeJobContext, type NodeInfo, type Self } from "./context.ts";

/** Lists the nodes of the mesh. */
export function nodes(): Promise<NodeInfo[]> {
  return jobContext().nodes();
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
