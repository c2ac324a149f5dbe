// The nodes that have a session with the coordinator.
import type { Peer } from "./door.ts";

/** What is known of a session; "detached" between two links. */
export type PeerState = "up" | "suspect" | "detached";

export class Peers extends Map<number, Peer> {
  readonly #detached = new Set<number>();
  readonly #waiting = new Map<number, PromiseWithResolvers<void>>();

  /** Whether it is there, as far as one can tell: a name is not taken from it. */
  isLive(node: number): boolean {
    return this.has(node) && !this.#detached.has(node);
  }

  setState(node: number, state: PeerState): void {
    if (state === "detached") this.#detached.add(node);
    else this.#detached.delete(node);
  }

  /** Resolves when its session has ended; at once when there is none. */
  async whenGone(node: number): Promise<void> {
    if (!this.has(node)) return;
    const waiting = this.#waiting.get(node) ?? Promise.withResolvers<void>();
    this.#waiting.set(node, waiting);
    await waiting.promise;
  }

  override delete(node: number): boolean {
    this.#detached.delete(node);
    this.#waiting.get(node)?.resolve();
    this.#waiting.delete(node);
    return super.delete(node);
  }
}
