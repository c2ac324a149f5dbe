// Dialing: all addresses of a name, side by side (RFC 8305); the first whose TLS has ended wins.
import { MeshError } from "../../core/errors.ts";
import type { DialOptions, Link } from "../../core/transport.ts";
import { formatIpAddress, type IpAddress, parseIpAddress } from "../ip-address.ts";
import { inTurns, type Resolve } from "../resolve.ts";
import { lateFailure, type Tried, unknownName, unreachable } from "./failures.ts";
import type { Trust } from "./identity.ts";
import { Probe } from "./probe.ts";
import type { Connection } from "./quic.ts";
import { beginLink } from "./streams.ts";

const DIAL_TIMEOUT_MS = 5_000;
/** RFC 8305, section 5: the next address is tried this long after the last one, or as soon as that has failed. */
const STAGGER_MS = 250;

export interface DialSettings {
  connect: (to: IpAddress, trust: Trust) => Promise<Connection>;
  trust: Trust;
  resolve: Resolve;
}

/** Throws UNREACHABLE, AUTHENTICATION, TIMEOUT or CANCELLED. */
export async function dialUdp(address: string, settings: DialSettings, options: DialOptions): Promise<Link> {
  const { timeoutMs = DIAL_TIMEOUT_MS, signal } = options;
  const cancelled = () => new MeshError("CANCELLED", `dialing ${address} was cancelled`);
  if (signal?.aborted) throw cancelled();
  const race = new Race(address, settings);
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
  readonly tried: Tried[] = [];
  readonly #address: string;
  readonly #target: IpAddress;
  readonly #settings: DialSettings;
  readonly #attempts: Attempt[] = [];
  readonly #winner = Promise.withResolvers<Link>();
  #isOver = false;

  constructor(address: string, settings: DialSettings) {
    this.#address = address;
    this.#target = parseIpAddress("udp", address);
    this.#settings = settings;
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
    this.giveUp(unreachable(this.#address, this.tried));
  }

  async #hosts(): Promise<string[]> {
    const { host } = this.#target;
    try {
      const hosts = await this.#settings.resolve(host);
      if (hosts.length === 0) throw new Error("it has no addresses");
      return hosts;
    } catch (error) {
      throw unknownName(this.#address, host, error);
    }
  }

  /** Starts an attempt. Resolves when the next one may start. */
  async #try(to: IpAddress): Promise<void> {
    const attempt = new Attempt(to, this.#address, this.#settings);
    const tried: Tried = { at: formatIpAddress("udp", to) };
    this.tried.push(tried);
    this.#attempts.push(attempt);
    const stagger = Promise.withResolvers<void>();
    const timer = setTimeout(stagger.resolve, STAGGER_MS);
    const settled = attempt.link.then(
      (link) => this.#win(attempt, link),
      (error) => {
        tried.error = error;
      },
    );
    await Promise.race([settled, stagger.promise]);
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

/** One address. */
class Attempt {
  readonly link: Promise<Link>;
  readonly #probe: Probe;
  readonly #result = Promise.withResolvers<Link>();
  #connection: Connection | undefined;
  #isOver = false;

  constructor(to: IpAddress, label: string, settings: DialSettings) {
    this.link = this.#result.promise;
    this.link.catch(() => {});
    this.#probe = new Probe(to, (error) => this.#fail(error));
    this.#open(to, label, settings).then(
      (link) => this.#opened(link),
      (error) => this.#fail(error),
    );
  }

  /** Ends it, also when it has its link already. */
  abandon(): void {
    this.#fail(new MeshError("CANCELLED", "another address was faster"));
    this.#connection?.cut("another way was faster");
  }

  async #open(to: IpAddress, label: string, { connect, trust }: DialSettings): Promise<Link> {
    const connection = await connect(to, trust);
    this.#connection = connection;
    if (this.#isOver) connection.cut("it is not needed any longer");
    await connection.opened;
    const peerCertificate = connection.peerCertificate;
    return await beginLink(connection, label, { ownCertificate: connection.ownCertificate, peerCertificate });
  }

  #opened(link: Link): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#probe.close();
    this.#result.resolve(link);
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#probe.close();
    this.#connection?.cut("it is not needed any longer");
    this.#result.reject(error);
  }
}
