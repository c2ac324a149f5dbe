// Dialing: all addresses of a name, side by side (RFC 8305); the first whose TLS has ended wins.
import { MeshError } from "../../core/errors.ts";
import type { DialOptions, Link } from "../../core/transport.ts";
import { inTurns, type Resolve } from "../resolve.ts";
import { parseTcpAddress } from "./address.ts";
import { Attempt } from "./attempt.ts";
import { lateFailure, type Tried, unknownName, unreachable } from "./dial-failures.ts";
import { DirectRoute } from "./direct-route.ts";
import type { DialingSide } from "./tls.ts";

export const DIAL_TIMEOUT_MS = 5_000;
/** RFC 8305, section 5: the next address is tried this long after the last one, or as soon as that has failed. */
const STAGGER_MS = 250;

/** Throws UNREACHABLE, AUTHENTICATION, TIMEOUT or CANCELLED. */
export async function dialTcp(
  address: string,
  side: DialingSide,
  resolve: Resolve,
  options: DialOptions,
): Promise<Link> {
  const { timeoutMs = DIAL_TIMEOUT_MS, signal } = options;
  const cancelled = () => new MeshError("CANCELLED", `dialing ${address} was cancelled`);
  if (signal?.aborted) throw cancelled();
  const race = new Race(address, side, resolve);
  const timer = setTimeout(() => race.giveUp(lateFailure(address, timeoutMs, race.tried)), timeoutMs);
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
  readonly #address: string;
  readonly #host: string;
  readonly #port: number;
  readonly #side: DialingSide;
  readonly #resolve: Resolve;
  readonly #attempts: Attempt[] = [];
  readonly #winner = Promise.withResolvers<Link>();
  #isOver = false;
  tried: Tried[] = [];

  constructor(address: string, side: DialingSide, resolve: Resolve) {
    const { host, port } = parseTcpAddress(address);
    this.#address = address;
    this.#host = host;
    this.#port = port;
    this.#side = side;
    this.#resolve = resolve;
  }

  run(): Promise<Link> {
    this.#start().catch((error) => this.giveUp(error));
    return this.#winner.promise;
  }

  giveUp(error: MeshError): void {
    if (this.#isOver) return;
    this.#end();
    this.#winner.reject(error);
  }

  async #start(): Promise<void> {
    for (const host of inTurns(await this.#hosts())) {
      if (this.#isOver) return;
      await this.#try(host);
    }
    await Promise.all(this.#attempts.map(({ settled }) => settled));
    if (!this.#isOver) this.giveUp(unreachable(this.#address, this.tried));
  }

  async #hosts(): Promise<string[]> {
    try {
      const hosts = await this.#resolve(this.#host);
      if (hosts.length === 0) throw new Error("it has no addresses");
      return hosts;
    } catch (error) {
      throw unknownName(this.#address, this.#host, error);
    }
  }

  /** Starts an attempt. Resolves when the next one may start. */
  async #try(host: string): Promise<void> {
    const attempt = new Attempt(new DirectRoute({ host, port: this.#port }), this.#address, this.#side);
    const tried: Tried = { at: attempt.at };
    this.tried.push(tried);
    this.#attempts.push(attempt);
    attempt.link.then(
      (link) => this.#win(attempt, link),
      (error) => {
        tried.error = error;
      },
    );
    const stagger = Promise.withResolvers<void>();
    const timer = setTimeout(stagger.resolve, STAGGER_MS);
    await Promise.race([attempt.settled, stagger.promise]);
    clearTimeout(timer);
  }

  #win(winner: Attempt, link: Link): void {
    if (this.#isOver) winner.abandon();
    else this.#end(winner);
    this.#winner.resolve(link);
  }

  #end(winner?: Attempt): void {
    this.#isOver = true;
    for (const attempt of this.#attempts) if (attempt !== winner) attempt.abandon();
  }
}
