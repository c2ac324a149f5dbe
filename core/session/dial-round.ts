// One try to reach a peer: all its addresses side by side, each begun a little after the one before. The first that
// answers is greeted; the others wait with their challenge, in case that one fails.
import type { Timer } from "../clock.ts";
import { isMeshError, MeshError } from "../errors.ts";
import type { DialOptions, Link } from "../transport.ts";
import { DialerHandshake, type Expectation, type Welcomed } from "./dialer.ts";
import type { Challenge, GreetingFields } from "./greeting.ts";
import type { HandshakeContext } from "./handshake.ts";
import type { LinkEnd } from "./link-end.ts";
import { staggerMs } from "./machine/backoff.ts";
import { Refusal } from "./refusal.ts";

/** How long a greeting may go unanswered when something else would lead to the peer: another address, or its own dial. */
const PATIENCE_MS = 1_000;

export type Dial = (address: string, options: DialOptions) => Promise<Link>;
export type GreetingWords = Omit<GreetingFields, "nonce" | "build" | "protocol" | "node">;

/** Why an address did not lead to the peer. */
export interface DialFailure {
  address: string;
  error: MeshError;
}

export interface DialRoundOptions {
  context: HandshakeContext;
  dial: Dial;
  addresses: readonly string[];
  expect: Expectation;
  /** The peer was linked before, and is waited for. */
  wasReached: boolean;
  /** All attempts end after so long, or so long after the last address was added. */
  limitMs: number;
}

export interface DialRoundEvents {
  /** What to say to who answers; undefined when nothing is to be said any more. Throws a Refusal to leave that address. */
  greetingFor(challenge: Challenge, address: string): GreetingWords | undefined;
  /** Called at most once, last. Throws a Refusal. */
  welcomed(welcomed: Welcomed, end: LinkEnd, address: string): void;
  /** No address led there. Called at most once, last. */
  failed(failures: DialFailure[]): void;
}

interface Attempt {
  address: string;
  abort: AbortController;
  handshake: DialerHandshake | undefined;
}

export class DialRound {
  readonly #options: DialRoundOptions;
  readonly #events: DialRoundEvents;
  /** Those that are tried, were, or will be. */
  readonly #known: Set<string>;
  #left: string[];
  readonly #attempts = new Set<Attempt>();
  readonly #ready: Attempt[] = [];
  readonly #failures: DialFailure[] = [];
  #limit: Timer;
  #next: Timer | undefined;
  #patience: Timer | undefined;
  #greeted: Attempt | undefined;
  #greetedAt = 0;
  #isOver = false;

  constructor(options: DialRoundOptions, events: DialRoundEvents) {
    this.#options = options;
    this.#events = events;
    this.#left = [...options.addresses];
    this.#known = new Set(options.addresses);
    this.#limit = this.#startLimit();
    this.#dialNext();
  }

  /** The address at which a greeting is on its way, and not answered yet, though it may still be. */
  get greeted(): string | undefined {
    const isLate = this.#options.context.clock.now() - this.#greetedAt >= PATIENCE_MS;
    return isLate ? undefined : this.#greeted?.address;
  }

  knows(address: string): boolean {
    return this.#known.has(address);
  }

  /** More addresses, to be tried before those that still wait; not those that are tried now. */
  add(addresses: readonly string[]): void {
    const busy = new Set([...this.#attempts].map(({ address }) => address));
    const fresh = addresses.filter((address) => !busy.has(address));
    if (this.#isOver || fresh.length === 0) return;
    for (const address of fresh) this.#known.add(address);
    this.#left = [...fresh, ...this.#left.filter((address) => !fresh.includes(address))];
    this.#limit.cancel();
    this.#limit = this.#startLimit();
    this.#dialNext();
  }

  /** Ends all attempts; nothing more is heard of this. */
  stop(): void {
    this.#finish();
  }

  #startLimit(): Timer {
    return this.#options.context.clock.after(this.#options.limitMs, () => this.#late());
  }

  #dialNext(): void {
    this.#next?.cancel();
    this.#next = undefined;
    const address = this.#left.shift();
    if (address === undefined) {
      this.#checkEnd();
      return;
    }
    const attempt: Attempt = { address, abort: new AbortController(), handshake: undefined };
    this.#attempts.add(attempt);
    if (this.#left.length > 0) {
      const waitMs = staggerMs(this.#known.size, this.#options.wasReached);
      this.#next = this.#options.context.clock.after(waitMs, () => this.#dialNext());
    }
    void this.#dial(attempt);
  }

  async #dial(attempt: Attempt): Promise<void> {
    const { dial, limitMs } = this.#options;
    let link: Link;
    try {
      link = await dial(attempt.address, { timeoutMs: limitMs, signal: attempt.abort.signal });
    } catch (error) {
      this.#failed(attempt, asMeshError(error, attempt.address));
      return;
    }
    if (this.#attempts.has(attempt)) this.#linked(attempt, link);
    else link.destroy(new MeshError("CANCELLED", "this link is not needed any longer"));
  }

  #linked(attempt: Attempt, link: Link): void {
    const { context, expect } = this.#options;
    attempt.handshake = new DialerHandshake(context, link, expect, {
      challenged: () => {
        if (!this.#greeted) this.#greet(attempt);
        else {
          this.#ready.push(attempt);
          this.#limitGreeted();
        }
      },
      welcomed: (welcomed, end) => {
        this.#attempts.delete(attempt); // its link is somebody else's now
        try {
          this.#events.welcomed(welcomed, end, attempt.address);
        } catch (error) {
          this.#attempts.add(attempt);
          throw error;
        }
        this.#finish();
      },
      failed: (error) => this.#failed(attempt, error),
    });
  }

  /** Throws a Refusal when this address is not to be greeted. */
  #greet(attempt: Attempt): void {
    const handshake = attempt.handshake!;
    const words = this.#events.greetingFor(handshake.challenge!, attempt.address);
    if (!words || this.#isOver) return;
    this.#greeted = attempt;
    this.#greetedAt = this.#options.context.clock.now();
    handshake.greet(words);
    if (this.#ready.length > 0) this.#limitGreeted();
  }

  /** Others wait: who was greeted must answer soon. */
  #limitGreeted(): void {
    const attempt = this.#greeted;
    this.#patience ??= this.#options.context.clock.after(PATIENCE_MS, () => {
      this.#patience = undefined;
      if (!attempt || this.#greeted !== attempt) return;
      attempt.handshake!.abandon();
      this.#failed(attempt, new MeshError("TIMEOUT", `${attempt.address} did not answer the greeting`));
    });
  }

  #failed(attempt: Attempt, error: MeshError): void {
    if (!this.#attempts.delete(attempt)) return;
    this.#failures.push({ address: attempt.address, error });
    if (this.#greeted === attempt) {
      this.#greeted = undefined;
      this.#patience?.cancel();
      this.#patience = undefined;
    }
    if (isVerdict(error)) {
      this.#fail();
      return;
    }
    this.#greetNext();
    if (!this.#isOver) this.#dialNext();
  }

  #greetNext(): void {
    while (!this.#greeted && !this.#isOver) {
      const attempt = this.#ready.shift();
      if (!attempt) return;
      if (!this.#attempts.has(attempt)) continue;
      try {
        this.#greet(attempt);
      } catch (error) {
        attempt.handshake!.abandon();
        this.#attempts.delete(attempt);
        this.#failures.push({ address: attempt.address, error: asMeshError(error, attempt.address) });
      }
    }
  }

  #checkEnd(): void {
    if (this.#attempts.size === 0) this.#fail();
  }

  #late(): void {
    const { limitMs } = this.#options;
    for (const { address } of this.#attempts) {
      const error = new MeshError("TIMEOUT", `${address} did not answer within ${limitMs} ms`);
      this.#failures.push({ address, error });
    }
    this.#fail();
  }

  #fail(): void {
    if (this.#isOver) return;
    this.#finish();
    this.#events.failed(this.#failures);
  }

  #finish(): void {
    this.#isOver = true;
    this.#limit.cancel();
    this.#next?.cancel();
    this.#patience?.cancel();
    const attempts = [...this.#attempts];
    this.#attempts.clear();
    this.#greeted = undefined;
    for (const { abort, handshake } of attempts) {
      abort.abort();
      handshake?.abandon();
    }
  }
}

/** The peer itself decided: no other address of it would say something else. */
export function isVerdict(error: MeshError): error is Refusal {
  return error instanceof Refusal && error.isRemote && (error.refusal === "DUPLICATE" || error.refusal === "GONE");
}

function asMeshError(error: unknown, address: string): MeshError {
  if (isMeshError(error)) return error;
  return new MeshError("UNREACHABLE", `cannot dial ${address}: ${(error as Error).message}`, { cause: error });
}
