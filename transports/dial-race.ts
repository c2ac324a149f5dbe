// Dialing: all addresses of a name, side by side (RFC 8305); the first whose TLS has ended wins. The same for every transport over IP.
import { MeshError } from "../core/errors.ts";
import type { DialOptions, Link } from "../core/transport.ts";
import type { IpAddress } from "./ip-address.ts";
import { inTurns, type Resolve } from "./resolve.ts";

export const DIAL_TIMEOUT_MS = 5_000;
/** RFC 8305, section 5: the next address is tried this long after the last one, or as soon as that has failed. */
const STAGGER_MS = 250;

/** One address; without an error while nothing is known yet. */
export interface Tried {
  at: string;
  error?: unknown;
}

/** A connection under way to one address. */
export interface DialAttempt {
  /** Its address, for people. */
  readonly at: string;
  /** The link, once TLS has ended. */
  readonly link: Promise<Link>;
  /** Ends it, also when it has its link already. */
  abandon(): void;
}

/** What a transport brings to the race. */
export interface Racing {
  attempt(to: IpAddress): DialAttempt;
  resolve: Resolve;
  /** The errors, in the transport's words. */
  failures: {
    unreachable(address: string, tried: readonly Tried[]): MeshError;
    lateFailure(address: string, timeoutMs: number, tried: readonly Tried[]): MeshError;
    unknownName(address: string, host: string, error: unknown): MeshError;
  };
}

/** Throws CANCELLED, and what `failures` make of the rest. */
export async function dialFirst(
  address: string,
  target: IpAddress,
  racing: Racing,
  { timeoutMs = DIAL_TIMEOUT_MS, signal }: DialOptions,
): Promise<Link> {
  const cancelled = () => new MeshError("CANCELLED", `dialing ${address} was cancelled`);
  if (signal?.aborted) throw cancelled();
  const race = new Race(address, target, racing);
  const late = () => race.giveUp(racing.failures.lateFailure(address, timeoutMs, race.tried));
  const timer = setTimeout(late, timeoutMs);
  const cancel = () => race.giveUp(cancelled());
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    return await race.run();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
  }
}

class Race {
  readonly tried: Tried[] = [];
  readonly #address: string;
  readonly #target: IpAddress;
  readonly #racing: Racing;
  readonly #attempts: DialAttempt[] = [];
  readonly #winner = Promise.withResolvers<Link>();
  #isOver = false;

  constructor(address: string, target: IpAddress, racing: Racing) {
    this.#address = address;
    this.#target = target;
    this.#racing = racing;
  }

  run(): Promise<Link> {
    this.#start().catch((error) => this.giveUp(error));
    return this.#winner.promise;
  }

  giveUp(error: Error): void {
    if (this.#isOver) return;
    this.#end();
    this.#winner.reject(error);
  }

  async #start(): Promise<void> {
    for (const host of inTurns(await this.#hosts())) {
      if (this.#isOver) return;
      await this.#try({ host, port: this.#target.port });
    }
    await Promise.allSettled(this.#attempts.map(({ link }) => link));
    this.giveUp(this.#racing.failures.unreachable(this.#address, this.tried));
  }

  async #hosts(): Promise<string[]> {
    const { host } = this.#target;
    try {
      const hosts = await this.#racing.resolve(host);
      if (hosts.length === 0) throw new Error("it has no addresses");
      return hosts;
    } catch (error) {
      throw this.#racing.failures.unknownName(this.#address, host, error);
    }
  }

  /** Starts an attempt. Resolves when the next one may start. */
  async #try(to: IpAddress): Promise<void> {
    const attempt = this.#racing.attempt(to);
    const tried: Tried = { at: attempt.at };
    this.tried.push(tried);
    this.#attempts.push(attempt);
    const settled = attempt.link.then(
      (link) => this.#win(attempt, link),
      (error) => {
        tried.error = error;
      },
    );
    const stagger = Promise.withResolvers<void>();
    const timer = setTimeout(stagger.resolve, STAGGER_MS);
    await Promise.race([settled, stagger.promise]);
    clearTimeout(timer);
  }

  #win(winner: DialAttempt, link: Link): void {
    if (this.#isOver) winner.abandon();
    else this.#end(winner);
    this.#winner.resolve(link);
  }

  #end(winner?: DialAttempt): void {
    this.#isOver = true;
    for (const attempt of this.#attempts) if (attempt !== winner) attempt.abandon();
  }
}
