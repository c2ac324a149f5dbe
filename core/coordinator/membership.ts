// Who is in the mesh, and what changed since it was last told. Pure: no I/O, no clock.
import { MeshError } from "../errors.ts";
import type { MembershipUpdate, NodeInfo, NodeState } from "./answers.ts";

/** Nodes that went down are remembered for status; the oldest are forgotten beyond so many. */
const REMEMBERED_DOWN = 256;

export class Membership {
  #version = 0;
  readonly #nodes = new Map<number, NodeInfo>();
  readonly #byName = new Map<string, number>();
  /** Nodes that are gone, in the order they went; by name. */
  readonly #down = new Map<string, NodeInfo>();
  readonly #changed = new Set<number>();
  readonly #restated = new Set<number>();
  readonly #gone = new Set<number>();
  #settling = true;
  #hasSettled = false;

  get version(): number {
    return this.#version;
  }

  /** Whether there is something to tell. */
  get hasNews(): boolean {
    return this.#hasSettled || this.#changed.size + this.#restated.size + this.#gone.size > 0;
  }

  get(node: number): NodeInfo | undefined {
    return this.#nodes.get(node);
  }

  /** The one that has the name: none that retires. */
  byName(name: string): NodeInfo | undefined {
    const node = this.#byName.get(name);
    return node === undefined ? undefined : this.#nodes.get(node);
  }

  /** Those that are in the mesh. */
  nodes(): IterableIterator<NodeInfo> {
    return this.#nodes.values();
  }

  /** All of that name: the one that has it, and those that retire under it. */
  named(name: string): NodeInfo[] {
    return [...this.#nodes.values()].filter((info) => info.name === name);
  }

  /** Those that went down without a word, until they are back or replaced. */
  lost(): IterableIterator<NodeInfo> {
    return this.#down.values();
  }

  /**
   * Takes a node in, or what it says anew. One of the same name is replaced, unless `isLive` says that it is there.
   * Throws USAGE then. One that retires has no name: it replaces nobody, and nobody replaces it.
   */
  join(info: NodeInfo, isLive: (node: number) => boolean): void {
    if (info.retiring) this.#freeName(info);
    else this.#takeName(info, isLive);
    this.#gone.delete(info.node);
    this.#nodes.set(info.node, info);
    this.#changed.add(info.node);
  }

  /** Takes a node out; with `remember` status goes on to show it as down. */
  leave(node: number, remember = false): NodeInfo | undefined {
    const info = this.#nodes.get(node);
    if (!info) return undefined;
    this.#nodes.delete(node);
    this.#freeName(info);
    this.#changed.delete(node);
    this.#restated.delete(node);
    this.#gone.add(node);
    if (remember && !info.retiring) this.#remember(info);
    return info;
  }

  setState(node: number, state: NodeState): void {
    const info = this.#nodes.get(node);
    if (!info || info.state === state) return;
    this.#nodes.set(node, { ...info, state });
    this.#restated.add(node);
  }

  /** The coordinator runs long enough: who is not in the view by now is gone. */
  settle(): void {
    this.#hasSettled = this.#settling;
    this.#settling = false;
  }

  /** What changed since the last call, as the next version; undefined when nothing did. */
  takeUpdate(): MembershipUpdate | undefined {
    if (!this.hasNews) return undefined;
    const nodes = [...this.#changed].map((node) => this.#nodes.get(node)!);
    const restated = [...this.#restated].filter((node) => !this.#changed.has(node));
    const states = restated.map((node): [number, NodeState] => [node, this.#nodes.get(node)!.state]);
    const update = { version: ++this.#version, ...this.#mark, nodes, gone: [...this.#gone], states };
    this.#changed.clear();
    this.#restated.clear();
    this.#gone.clear();
    this.#hasSettled = false;
    return update;
  }

  /** The whole view as of the last update taken. Call it when there is no news. */
  full(): MembershipUpdate {
    const nodes = [...this.#nodes.values()];
    return { version: this.#version, full: true, ...this.#mark, nodes, gone: [], states: [] };
  }

  get #mark(): { settling?: true } {
    return this.#settling ? { settling: true } : {};
  }

  #takeName({ name, node }: NodeInfo, isLive: (node: number) => boolean): void {
    const other = this.byName(name);
    if (other && other.node !== node) {
      if (isLive(other.node)) throw nameTaken(other);
      this.leave(other.node);
    }
    this.#down.delete(name);
    this.#byName.set(name, node);
  }

  #freeName({ name, node }: NodeInfo): void {
    if (this.#byName.get(name) === node) this.#byName.delete(name);
  }

  #remember(info: NodeInfo): void {
    this.#down.delete(info.name);
    this.#down.set(info.name, { ...info, state: "down" });
    if (this.#down.size <= REMEMBERED_DOWN) return;
    for (const name of this.#down.keys()) {
      this.#down.delete(name);
      return;
    }
  }
}

function nameTaken({ name, role, host, since }: NodeInfo): MeshError {
  const started = new Date(since).toISOString().slice(0, 19).replace("T", " ");
  const message = `the name ${name} is taken: a ${role} of that name runs on ${host} since ${started} UTC; choose another name, or end that one: mesh kill ${name}`;
  return new MeshError("USAGE", message);
}
