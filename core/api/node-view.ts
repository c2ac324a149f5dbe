// Who is in the mesh, as a job sees it: the list as of now, and who hears when it changes.
import { type Clock, systemClock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import { nearest } from "../nearest.ts";

/** A node of the mesh: one process tree on one machine. */
export interface NodeInfo {
  /** Number of its process: another one after each start. */
  node: number;
  /** Unique in the mesh; "here" is the machine of this mesh when it has no other. */
  name: string;
  role: "coordinator" | "worker" | "head" | "client" | "rendezvous";
  status: "up" | "down";
  /** The machine's own name. */
  host: string;
  /** Slots a job may use: its cores unless set otherwise; 0 of nodes that are no workers. */
  slots: number;
  tags: string[];
  /** Hardware threads. */
  cores: number;
  /** "x64" or "arm64". */
  arch: string;
  /** Bytes of memory. */
  memoryBytes: number;
}

/** What happened to a node. */
export interface NodeEvent {
  event: "online" | "offline";
  /** As it is now; of one that left the list, as it was last, and down. */
  node: NodeInfo;
}

export type NodeListener = (event: NodeEvent) => void;

export interface WaitOptions {
  /** Gives up with TIMEOUT after so many milliseconds. */
  timeoutMs?: number;
  /** Gives up with CANCELLED when aborted. */
  signal?: AbortSignal;
}

const LISTED = 20;
const DEFAULT_TIMEOUT_MS = 30_000;

export class NodeView {
  readonly #clock: Clock;
  readonly #listeners = new Set<NodeListener>();
  #nodes: readonly NodeInfo[];

  constructor(nodes: readonly NodeInfo[], clock: Clock = systemClock) {
    this.#nodes = nodes;
    this.#clock = clock;
  }

  /** The nodes as of now. */
  get list(): readonly NodeInfo[] {
    return this.#nodes;
  }

  /** Takes the list as it is now and tells what is different. */
  update(nodes: readonly NodeInfo[]): void {
    const before = new Map(this.#nodes.map((node) => [node.node, node]));
    const after = new Map(nodes.map((node) => [node.node, node]));
    this.#nodes = nodes;
    // Who leaves is told first: who comes back is offline under its old number and online under the new one.
    for (const old of before.values()) {
      const now = after.get(old.node) ?? { ...old, status: "down" };
      if (old.status === "up" && now.status === "down") this.#tell({ event: "offline", node: now });
    }
    for (const node of after.values()) {
      if (node.status === "up" && before.get(node.node)?.status !== "up") this.#tell({ event: "online", node });
    }
  }

  /** Calls `listener` at each change from now on, until the function it returns is called. */
  listen(listener: NodeListener): () => void {
    const own: NodeListener = (event) => listener(event); // one that listens twice hears twice
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  /** The node of that name, as soon as it is up. Throws TIMEOUT (default: after 30 s) or CANCELLED. */
  async locate(name: string, { timeoutMs = DEFAULT_TIMEOUT_MS, signal }: WaitOptions = {}): Promise<NodeInfo> {
    const cancelled = () =>
      new MeshError("CANCELLED", `locateNode ${name} was cancelled by its signal`, { cause: signal?.reason });
    if (signal?.aborted) throw cancelled();
    const there = this.#find(name);
    if (there) return there;
    const { promise, resolve, reject } = Promise.withResolvers<NodeInfo>();
    const stopListening = this.listen(() => {
      const found = this.#find(name);
      if (found) resolve(found);
    });
    const timer = this.#clock.after(timeoutMs, () => reject(this.#notThere(name, timeoutMs)));
    const abort = () => reject(cancelled());
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await promise;
    } finally {
      stopListening();
      timer.cancel();
      signal?.removeEventListener("abort", abort);
    }
  }

  #find(name: string): NodeInfo | undefined {
    return this.#nodes.find((node) => node.name === name && node.status === "up");
  }

  #notThere(name: string, timeoutMs: number): MeshError {
    const up = this.#nodes.filter((node) => node.status === "up").map((node) => node.name);
    const near = nearest(name, up);
    const hint = near === undefined ? "" : `; did you mean ${near}?`;
    const more = up.length > LISTED ? ` and ${up.length - LISTED} more` : "";
    const list = up.length > 0 ? `up are ${up.slice(0, LISTED).join(", ")}${more}` : "no node is up";
    return new MeshError("TIMEOUT", `no node ${name} came within ${timeoutMs} ms${hint}${hint ? " " : "; "}${list}`);
  }

  #tell(event: NodeEvent): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event);
      } catch (error) {
        // The listener's own fault: it becomes an uncaught error, and the others still hear.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
