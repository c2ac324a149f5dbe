// The nodes that have a session with the coordinator.
import type { Peer } from "./door.ts";

/** What is known of a session; "detached" between two links. */
export type PeerState = "up" | "suspect" | "detached";

export class Peers extends Map<number, Peer> {
  readonly #detached = new Set<number>();
  readonly #waiting = new Map<number, PromiseWithResolvers<Error | undefined>>();

  /** Whether it is there, as far as one can tell: a name is not taken from it. */
  isLive(node: number): boolean {
    return this.has(node) && !this.#detached.has(node);
  }

  setState(node: number, state: PeerState): void {
    if (state === "detached") this.#detached.add(node);
    else this.#detached.delete(node);
  }

  /** Resolves when its session has ended, with the reason if it was lost; at once when there is none. */
  async whenGone(node: number): Promise<Error | undefined> {
    if (!this.has(node)) return undefined;
    const waiting = this.#waiting.get(node) ?? Promise.withResolvers<Error | undefined>();
    this.#waiting.set(node, waiting);
    return await waiting.promise;
  }

  /** Its session has ended: lost for that reason, if there is one. */
  end(node: number, error?: Error): boolean {
    this.#detached.delete(node);
    this.#waiting.get(node)?.resolve(error);
    this.#waiting.delete(node);
    return this.delete(node);
  }
}
