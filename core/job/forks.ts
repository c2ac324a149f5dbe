// Nodes that a script starts beside its head: processes of their own on this machine, linked to the head alone.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { NodeInfo } from "../api/context.ts";
import type { Fork } from "../api/fork.ts";
import type { HostInfo } from "../api/hosts.ts";
import { systemClock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import { newNodeNumber } from "../node/number.ts";
import type { Nursery } from "../worker/nursery.ts";
import { endTree } from "../worker/process-tree.ts";
import { thisMachine } from "../worker/this-machine.ts";

const START_LIMIT_MS = 10_000;

interface Forked {
  node: number;
  name: string;
  process: Bun.Subprocess;
  host: HostInfo;
  info: NodeInfo;
  up: PromiseWithResolvers<void>;
  isUp: boolean;
}

export interface ForksOptions {
  /** The head's run folder. */
  folder: string;
  /** The head's node. */
  head: number;
  /** The command that makes a process a forked node; its arguments are added. */
  command: readonly string[];
  nursery: Nursery;
  /** Which nodes there are has changed; `lost` is one that is gone, and why. */
  changed(lost: { node: number; reason: string }[]): void;
}

export class Forks {
  readonly #options: ForksOptions;
  readonly #nodes = new Map<number, Forked>();
  #started = 0;

  constructor(options: ForksOptions) {
    this.#options = options;
  }

  /** The numbers of those that are up. */
  get numbers(): number[] {
    return [...this.#nodes.values()].filter(({ isUp }) => isUp).map(({ node }) => node);
  }

  /** Those that are up, as hosts and as nodes. */
  get view(): { hosts: HostInfo[]; nodes: NodeInfo[] } {
    const up = [...this.#nodes.values()].filter(({ isUp }) => isUp);
    return { hosts: up.map(({ host }) => host), nodes: up.map(({ info }) => info) };
  }

  has(name: string): boolean {
    return [...this.#nodes.values()].some((node) => node.name === name);
  }

  /** Starts nodes; resolves with their names when all are up. */
  async start({ count, slots }: Fork): Promise<string[]> {
    const started = Array.from({ length: count }, () => this.#start(slots));
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => late.reject(new MeshError("UNREACHABLE", `a forked node did not start within ${START_LIMIT_MS} ms`)),
      START_LIMIT_MS,
    );
    try {
      await Promise.race([Promise.all(started.map(({ up }) => up.promise)), late.promise]);
    } finally {
      clearTimeout(timer);
    }
    this.#options.changed([]);
    return started.map(({ name }) => name);
  }

  /** A node has dialed the head. */
  connected(node: number): void {
    const forked = this.#nodes.get(node);
    if (!forked) return;
    forked.isUp = true;
    forked.up.resolve();
  }

  /** Ends one and all it started; SIGTERM first, SIGKILL after the grace period. */
  async end(name: string, graceMs: number): Promise<void> {
    const forked = [...this.#nodes.values()].find((node) => node.name === name);
    if (!forked) return;
    await endTree(forked.process.pid, { graceMs, clock: systemClock });
    await forked.process.exited;
  }

  async endAll(): Promise<void> {
    await Promise.all([...this.#nodes.values()].map(({ name }) => this.end(name, 0)));
  }

  #start(slots: number): Forked {
    const { folder, head, command, nursery } = this.#options;
    const node = newNodeNumber();
    const name = `fork-${++this.#started}`;
    const own = join(folder, `f${this.#started}`);
    mkdirSync(own, { mode: 0o700 });
    const child = Bun.spawn([...command, own, folder, String(head), String(node), name, String(process.pid)], {
      env: process.env,
      detached: true,
      stdio: ["ignore", "inherit", "inherit"],
    });
    nursery.keep(child.pid);
    const { host, info } = thisMachine({ node, name, slots });
    const up = Promise.withResolvers<void>();
    up.promise.catch(() => {});
    const forked = { node, name, process: child, host, info: { ...info, role: "worker" as const }, up, isUp: false };
    this.#nodes.set(node, forked);
    void child.exited.then(() => this.#ended(forked));
    return forked;
  }

  #ended({ node, name, process: child, up }: Forked): void {
    this.#nodes.delete(node);
    this.#options.nursery.release(child.pid);
    const reason = `the forked node ${name} has ended`;
    up.reject(new MeshError("UNREACHABLE", reason));
    this.#options.changed([{ node, reason }]);
  }
}
