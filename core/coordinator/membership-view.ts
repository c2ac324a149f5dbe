// The mesh as a node sees it, from what the coordinator tells it. Pure.
import type { MembershipUpdate, NodeInfo } from "./answers.ts";

/** "online" also for a node that came back as another process: "offline" of the old one comes first. */
export interface MembershipChange {
  kind: "online" | "offline" | "changed";
  node: NodeInfo;
}

/**
 * Keeps the view whole: what comes out of order is not applied. Nodes that a coordinator which has just started does not
 * list are kept until it has settled, so that its restart takes nobody offline.
 */
export class MembershipView {
  readonly #nodes = new Map<number, NodeInfo>();
  readonly #byName = new Map<string, NodeInfo>();
  /** Known from before the coordinator restarted, and not confirmed since. */
  readonly #unconfirmed = new Set<number>();
  #coordinator = 0;
  #version = 0;

  /**
   * Applies what `coordinator` (a node's id) sent and tells what changed. Undefined when a version is missing in between:
   * ask for the full view by an empty membership message.
   */
  apply(coordinator: number, update: MembershipUpdate): MembershipChange[] | undefined {
    const isNext = coordinator === this.#coordinator && update.version === this.#version + 1;
    if (!update.full && !isNext) {
      return coordinator === this.#coordinator && update.version <= this.#version ? [] : undefined;
    }
    if (update.full && coordinator === this.#coordinator && update.version < this.#version) return [];
    this.#coordinator = coordinator;
    this.#version = update.version;
    const changes: MembershipChange[] = [];
    for (const node of update.full ? this.#missingIn(update) : update.gone) this.#remove(node, changes);
    for (const node of update.nodes) this.#put(node, changes);
    for (const [node, state] of update.states) this.#restate(node, state, changes);
    if (!update.settling) this.#dropUnconfirmed(changes);
    return changes;
  }

  /** The node itself says that it retires: the coordinator may not know yet. */
  retire(node: number): MembershipChange[] {
    const info = this.#nodes.get(node);
    const changes: MembershipChange[] = [];
    if (info && !info.retiring) this.#put({ ...info, retiring: true }, changes);
    return changes;
  }

  get(node: number): NodeInfo | undefined {
    return this.#nodes.get(node);
  }

  /** The one that has the name: none that retires. */
  byName(name: string): NodeInfo | undefined {
    return this.#byName.get(name);
  }

  nodes(): NodeInfo[] {
    return [...this.#nodes.values()];
  }

  /** Those to remove now; while the coordinator settles they are kept and marked. */
  #missingIn(update: MembershipUpdate): number[] {
    const listed = new Set(update.nodes.map(({ node }) => node));
    const missing = [...this.#nodes.keys()].filter((node) => !listed.has(node));
    if (!update.settling) return missing;
    for (const node of missing) this.#unconfirmed.add(node);
    return [];
  }

  #put(info: NodeInfo, changes: MembershipChange[]): void {
    if (info.retiring) this.#freeName(info);
    else this.#takeName(info, changes);
    const known = this.#nodes.get(info.node);
    this.#unconfirmed.delete(info.node);
    this.#nodes.set(info.node, info);
    if (!known) changes.push({ kind: "online", node: info });
    else if (JSON.stringify(known) !== JSON.stringify(info)) changes.push({ kind: "changed", node: info });
  }

  #restate(node: number, state: NodeInfo["state"], changes: MembershipChange[]): void {
    const info = this.#nodes.get(node);
    if (info) this.#put({ ...info, state }, changes);
  }

  #remove(node: number, changes: MembershipChange[]): void {
    const info = this.#nodes.get(node);
    if (!info) return;
    this.#unconfirmed.delete(node);
    this.#nodes.delete(node);
    this.#freeName(info);
    changes.push({ kind: "offline", node: { ...info, state: "down" } });
  }

  #takeName(info: NodeInfo, changes: MembershipChange[]): void {
    const namesake = this.byName(info.name);
    if (namesake && namesake.node !== info.node) this.#remove(namesake.node, changes);
    this.#byName.set(info.name, info);
  }

  #freeName({ name, node }: NodeInfo): void {
    if (this.#byName.get(name)?.node === node) this.#byName.delete(name);
  }

  #dropUnconfirmed(changes: MembershipChange[]): void {
    for (const node of this.#unconfirmed) this.#remove(node, changes);
  }
}
