// What the hosts of one command share: a limit of logins under way, retries where a host drops them, unlocked keys, and one
// question about all host keys that nobody knows yet.
import { type Clock, systemClock } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import type { Person } from "../../core/provider.ts";
import { KeyRing } from "./key-files.ts";
import { SharedJumps } from "./shared-jumps.ts";

/** The host hung up before it knew who we are: sshd does so at random when many come at once (MaxStartups). */
export class DroppedLogin extends Error {}

export interface DialingOptions {
  /** Logins under way at once. Default 16. */
  parallel?: number;
  clock?: Clock;
  /** Keys that were unlocked before. */
  keyRing?: KeyRing;
  /** In [0, 1). */
  random?: () => number;
}

const TRIES = 5;
const FIRST_WAIT_MS = 250;

/** How long to wait after the nth drop: half to all of 250 ms, doubled each time. */
export function retryDelayMs(drops: number, random: () => number): number {
  return FIRST_WAIT_MS * 2 ** (drops - 1) * (0.5 + random() / 2);
}

interface Place {
  active: number;
  limit: number;
}

interface Waiting {
  place: Place;
  start: () => void;
}

interface Stranger {
  /** "alice@10.0.0.5: the ED25519 key SHA256:…" */
  words: string;
  answer: (isTrusted: boolean) => void;
}

export class Dialing {
  readonly keyRing: KeyRing;
  readonly jumps = new SharedJumps();
  /** Logins that hosts have dropped so far. */
  drops = 0;
  readonly #parallel: number;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #places = new Map<string, Place>();
  #queue: Waiting[] = [];
  #active = 0;
  #preparing = 0;
  #strangers: Stranger[] = [];
  #person: Person | undefined;

  constructor(options: DialingOptions = {}) {
    this.#parallel = options.parallel ?? 16;
    this.#clock = options.clock ?? systemClock;
    this.keyRing = options.keyRing ?? new KeyRing();
    this.#random = options.random ?? Math.random;
  }

  /**
   * Runs `login` when it is its turn, and again after DroppedLogin, at most 5 times in all; a place that dropped logins
   * gets fewer at once from then on. Throws UNREACHABLE when all were dropped, CANCELLED, and what `login` throws.
   */
  async attempt<T>(name: string, label: string, login: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const place = this.#places.get(name) ?? { active: 0, limit: this.#parallel };
    this.#places.set(name, place);
    for (let tries = 1; ; tries++) {
      await this.#turn(place, label, signal);
      try {
        return await login();
      } catch (error) {
        if (!(error instanceof DroppedLogin)) throw error;
        this.drops++;
        if (tries === TRIES) throw allDropped(label, error);
        place.limit = Math.max(1, Math.floor(Math.min(place.limit, place.active) / 2));
      } finally {
        this.#done(place);
      }
      await this.#pause(retryDelayMs(tries, this.#random), label, signal);
    }
  }

  /** Work that leads to a login: until it is over, hosts nobody knows may still turn up. */
  async prepare<T>(work: () => Promise<T>): Promise<T> {
    this.#preparing++;
    try {
      return await work();
    } finally {
      this.#preparing--;
      this.#askIfIdle();
    }
  }

  /** Asks whether to trust a key, together with all others that wait for the same, when no login is under way any more. */
  trusts(person: Person, words: string, signal?: AbortSignal): Promise<boolean> {
    this.#person = person;
    return new Promise((resolve, reject) => {
      const stranger: Stranger = { words, answer: resolve };
      const cancel = () => {
        this.#strangers = this.#strangers.filter((other) => other !== stranger);
        reject(givenUp(words));
      };
      if (signal?.aborted) return cancel();
      signal?.addEventListener("abort", cancel, { once: true });
      this.#strangers.push(stranger);
      this.#askIfIdle();
    });
  }

  #turn(place: Place, label: string, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        place,
        start: () => {
          signal?.removeEventListener("abort", cancel);
          resolve();
        },
      };
      const cancel = () => {
        this.#queue = this.#queue.filter((other) => other !== waiting);
        reject(givenUp(label));
        this.#askIfIdle();
      };
      if (signal?.aborted) return reject(givenUp(label));
      signal?.addEventListener("abort", cancel, { once: true });
      this.#queue.push(waiting);
      this.#start();
    });
  }

  #start(): void {
    for (const waiting of this.#queue) {
      if (this.#active >= this.#parallel) break;
      if (waiting.place.active >= waiting.place.limit) continue;
      this.#queue = this.#queue.filter((other) => other !== waiting);
      this.#active++;
      waiting.place.active++;
      waiting.start();
    }
  }

  #done(place: Place): void {
    this.#active--;
    place.active--;
    this.#start();
    this.#askIfIdle();
  }

  /** Looks when all that has just become known has had its consequences. */
  #askIfIdle(): void {
    if (this.#strangers.length > 0) setImmediate(() => this.#ask());
  }

  #ask(): void {
    const strangers = this.#strangers;
    const isBusy = this.#active + this.#preparing + this.#queue.length > 0;
    if (isBusy || strangers.length === 0 || !this.#person) return;
    this.#strangers = [];
    const answer = (isTrusted: boolean) => {
      for (const stranger of strangers) stranger.answer(isTrusted);
    };
    this.#person.confirm(questionFor(strangers.map(({ words }) => words))).then(answer, () => answer(false));
  }

  #pause(delayMs: number, label: string, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = () => {
        timer.cancel();
        reject(givenUp(label));
      };
      const timer = this.#clock.after(delayMs, () => {
        signal?.removeEventListener("abort", cancel);
        resolve();
      });
      signal?.addEventListener("abort", cancel, { once: true });
      if (signal?.aborted) cancel();
    });
  }
}

function questionFor(words: string[]): string {
  const [first] = words;
  if (words.length === 1) return `Nobody here knows ${first} yet. Trust it?`;
  return `Nobody here knows these ${words.length} hosts yet:\n${words.map((line) => `  ${line}\n`).join("")}Trust them all?`;
}

function givenUp(label: string): MeshError {
  return new MeshError("CANCELLED", `the login on ${label} was given up`);
}

function allDropped(label: string, cause: Error): MeshError {
  const message = `${label} hung up ${TRIES} times before the login: ${cause.message}; its sshd may be overloaded (MaxStartups of sshd_config), may not let this address in, or it is no SSH server`;
  return new MeshError("UNREACHABLE", message, { cause });
}
