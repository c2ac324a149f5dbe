// Which peer a message goes to: the links of one process, by the processes and nodes they lead to.
import type { Link } from "../transport.ts";
import type { Address } from "../wire/message.ts";
import type { Peer } from "./peer.ts";

export function isSame(a: Address, b: Address): boolean {
  return a.node === b.node && a.slot === b.slot;
}

export class Routes {
  readonly #own: number;
  readonly #onNoRoute: (node: number) => void;
  /** Processes of the own node, by slot: the link on which each is written to, always the same while it lives. */
  readonly #slots = new Map<number, Peer>();
  /** Other nodes, by their number. */
  readonly #nodes = new Map<number, Peer>();
  /** Further links to peers, that are only read: two processes that dialed each other at the same moment have two. */
  readonly #further = new Set<Peer>();
  #default: Peer | undefined;

  /** `onNoRoute` is asked for a way to a node that none leads to; it may `add` one. */
  constructor(own: number, onNoRoute: (node: number) => void) {
    this.#own = own;
    this.#onNoRoute = onNoRoute;
  }

  add(peer: Peer, isDefault = false): void {
    if (this.first(peer.address)) this.#further.add(peer);
    else this.#setFirst(peer.address, peer);
    if (isDefault) this.#default = peer;
  }

  /** The peer that messages to a process go to, or undefined without a way. */
  to({ node, slot }: Address): Peer | undefined {
    if (node === this.#own) return this.#slots.get(slot) ?? this.#default;
    const known = this.#nodes.get(node) ?? this.#default;
    if (known) return known;
    this.#onNoRoute(node);
    return this.#nodes.get(node);
  }

  /** Whether there is a way to a process as things stand. */
  has({ node, slot }: Address): boolean {
    return this.#default !== undefined || (node === this.#own ? this.#slots.has(slot) : this.#nodes.has(node));
  }

  /** The link to a process of the own node, or to another node, on which it is written to. */
  first({ node, slot }: Address): Peer | undefined {
    return node === this.#own ? this.#slots.get(slot) : this.#nodes.get(node);
  }

  /** All links to it. */
  all(address: Address): Peer[] {
    const first = this.first(address);
    const further = [...this.#further].filter((peer) => isSame(peer.address, address));
    return first ? [first, ...further] : further;
  }

  /**
   * A link has ended. True when it was the last to its peer. Else what was written may be lost, so the peer is too: the other
   * links are closed, and what they still have to say arrives before the last of them ends.
   */
  remove(peer: Peer): boolean {
    this.#further.delete(peer);
    const { address } = peer;
    const first = this.first(address);
    const [next] = [...this.#further].filter((other) => isSame(other.address, address));
    if (first === peer && next) this.#further.delete(next);
    if (first === peer) this.#setFirst(address, next);
    if (this.#default === peer) this.#default = next;
    const left = this.all(address);
    for (const { lane } of left) lane.link.close();
    return left.length === 0;
  }

  /** Whether a peer speaks for itself or, when it stands for another node, for all of that node's processes. */
  scopeOf({ node }: Address): "itself" | "its node" {
    return node === this.#own ? "itself" : "its node";
  }

  #setFirst({ node, slot }: Address, peer: Peer | undefined): void {
    const [map, key] = node === this.#own ? [this.#slots, slot] : [this.#nodes, node];
    if (peer) map.set(key, peer);
    else map.delete(key);
  }
}

/** Links of a process, all of which keep it running or none. */
export class HeldLinks extends Set<Link> {
  #holds = 0;

  override add(link: Link): this {
    link.setRef(this.#holds > 0);
    return super.add(link);
  }

  /** Adds one reason for the process to go on. */
  hold(): void {
    if (this.#holds++ === 0) for (const link of this) link.setRef(true);
  }

  release(): void {
    if (--this.#holds === 0) for (const link of this) link.setRef(false);
  }
}
