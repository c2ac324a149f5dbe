// Remembers sessions that are over, so that a peer that comes back late hears so and is not taken for a new one.
import { ENDED_LIMIT } from "./greeting.ts";

/** So many are remembered in all; the oldest are forgotten. */
const LIMIT = 1_024;

export interface EndedSession {
  node: number;
  epoch: string;
  /** Frames of its main lane that had been taken. */
  taken: number;
  /** Why it is over. */
  reason: string;
}

export class EndedSessions {
  readonly #byEpoch = new Map<string, EndedSession>();

  add(session: EndedSession): void {
    if (this.#byEpoch.size >= LIMIT) this.#byEpoch.delete(this.#byEpoch.keys().next().value!);
    this.#byEpoch.set(session.epoch, session);
  }

  get(epoch: string): EndedSession | undefined {
    return this.#byEpoch.get(epoch);
  }

  /** The epochs of the last few with that node, latest first. */
  with(node: number): string[] {
    const of = [...this.#byEpoch.values()].filter((session) => session.node === node);
    return of
      .slice(-ENDED_LIMIT)
      .reverse()
      .map(({ epoch }) => epoch);
  }
}
