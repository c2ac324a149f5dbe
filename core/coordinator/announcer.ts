// Tells the nodes who is in the mesh: changes in batches, each encoded once for all who get it.
import type { Clock, Timer } from "../clock.ts";
import { MessageType } from "../wire/message-types.ts";
import type { MembershipUpdate } from "./answers.ts";
import type { CoordinatorNode } from "./door.ts";
import type { Membership } from "./membership.ts";

/** Changes within so many milliseconds of the last announcement go out as one. */
const BATCH_MS = 50;

export class Announcer {
  readonly #node: CoordinatorNode;
  readonly #clock: Clock;
  readonly #membership: Membership;
  /** Nodes that have the view of the last announcement. */
  readonly #current = new Set<number>();
  /** Nodes that need the whole view. */
  readonly #behind = new Set<number>();
  /** Nodes whose way is full: nothing more is laid on it, they get the whole view when it is free again. */
  readonly #full = new Set<number>();
  #timer: Timer | undefined;
  #last = Number.NEGATIVE_INFINITY;

  constructor(node: CoordinatorNode, clock: Clock, membership: Membership) {
    this.#node = node;
    this.#clock = clock;
    this.#membership = membership;
  }

  /** This node wants the whole view, and each change from then on. */
  add(node: number): void {
    this.#current.delete(node);
    this.#behind.add(node);
    this.changed();
  }

  remove(node: number): void {
    this.#current.delete(node);
    this.#behind.delete(node);
    this.#full.delete(node);
  }

  /** The way to this node can take more. */
  drained(node: number): void {
    if (this.#full.delete(node)) this.add(node);
  }

  /** The membership may have news: tells it now, or with the next batch. */
  changed(): void {
    if (this.#timer || this.#current.size + this.#behind.size === 0) return; // or nobody is there to be told
    const wait = this.#last + BATCH_MS - this.#clock.now();
    if (wait <= 0) this.#announce();
    else this.#timer = this.#clock.after(wait, () => this.#announce());
  }

  close(): void {
    this.#timer?.cancel();
  }

  #announce(): void {
    this.#timer = undefined;
    this.#last = this.#clock.now();
    const update = this.#membership.takeUpdate();
    if (update && this.#current.size > 0) this.#send(update, this.#current);
    const newcomers = [...this.#behind].filter((node) => !this.#full.has(node));
    if (newcomers.length === 0) return;
    for (const node of newcomers) {
      this.#behind.delete(node);
      this.#current.add(node);
    }
    this.#send(this.#membership.full(), newcomers);
  }

  #send(update: MembershipUpdate, to: Iterable<number>): void {
    const bytes = this.#node.codec.encode(update);
    for (const node of [...to]) {
      if (this.#node.send({ node, slot: 0 }, MessageType.membership, 0, 0, bytes)) continue;
      this.#current.delete(node);
      this.#full.add(node);
    }
  }
}
