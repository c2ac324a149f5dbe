// Another process as a node sees it: the lanes to it, whom it may speak for, and who waits for room on the way to it.
import type { Link } from "../transport.ts";
import type { Address } from "../wire/message.ts";
import { Lane } from "./lane.ts";

/** The part of a peer's certificate that decides what it may ask. */
export type PeerRole = "coordinator" | "worker" | "head" | "client" | "rendezvous";

export interface PeerOptions {
  address: Address;
  link: Link;
  /** Of another node, from its certificate; missing for processes of the own node. */
  role?: PeerRole;
  /** What people call that node. */
  name?: string;
  /** In whose name it may send: its own, that of all processes of its node, or anybody's, because it forwards. */
  speaksFor: "itself" | "its node" | "all";
  /** A second link, for the pieces of large messages; missing where one does for all. */
  bulk?: Link;
}

/** Frames that wait for one peer may take so much before those who send them are no longer read from. */
const FORWARDED_LIMIT_BYTES = 8 * 1024 * 1024;

export class Peer {
  readonly address: Address;
  readonly role: PeerRole | undefined;
  readonly name: string;
  readonly lane: Lane;
  /** The lane for pieces of large messages. */
  readonly bulk: Lane;
  readonly #speaksFor: PeerOptions["speaksFor"];
  /** Processes that were told to wait, by key. */
  readonly #told = new Map<number, Address>();
  /** Links that are not read from until this peer has room. */
  readonly #held = new Set<Link>();

  constructor({ address, link, role, name = `node ${address.node}`, speaksFor, bulk }: PeerOptions) {
    this.address = address;
    this.role = role;
    this.name = name;
    this.lane = new Lane(link);
    this.bulk = bulk ? new Lane(bulk) : this.lane;
    this.#speaksFor = speaksFor;
  }

  /** Whether a message that came from this peer may name that process as its source. */
  maySpeakFor(node: number, slot: number): boolean {
    if (this.#speaksFor === "all") return true;
    return node === this.address.node && (this.#speaksFor === "its node" || slot === this.address.slot);
  }

  /** Notes that the sender to `to` was asked to wait. */
  tell(to: Address): void {
    this.#told.set(to.node * 0x10000 + to.slot, to);
  }

  /** Stops reading from `source` when too much waits for this peer. */
  hold(lane: Lane, source: Link): void {
    if (lane.queuedBytes < FORWARDED_LIMIT_BYTES || this.#held.has(source)) return;
    this.#held.add(source);
    source.pause();
  }

  /** There is room again: reads on, and returns the processes whose senders wait. */
  release(): Address[] {
    for (const source of this.#held) source.resume();
    this.#held.clear();
    const told = [...this.#told.values()];
    this.#told.clear();
    return told;
  }
}
