// Who is in the mesh, and who this process is in it.
import { jobContext, maybeJobContext } from "./context.ts";

/** A machine of the mesh as a job sees it. */
export interface NodeInfo {
  /** Unique in the mesh; "here" is the machine of this mesh when it has no other. */
  name: string;
  /** The machine's own name. */
  host: string;
  /** Slots a job may use: its cores unless set otherwise. */
  slots: number;
  /** Hardware threads. */
  cores: number;
  /** "x64" or "arm64". */
  arch: string;
  /** Bytes of memory. */
  memoryBytes: number;
}

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
