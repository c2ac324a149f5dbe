// Dialing over UDP.
import { MeshError } from "../../core/errors.ts";
import type { DialOptions, Link } from "../../core/transport.ts";
import { type DialAttempt, dialFirst } from "../dial-race.ts";
import { formatIpAddress, type IpAddress, parseIpAddress } from "../ip-address.ts";
import type { Resolve } from "../resolve.ts";
import * as failures from "./failures.ts";
import type { Trust } from "./identity.ts";
import { Probe } from "./probe.ts";
import type { Connection } from "./quic.ts";
import { beginLink } from "./streams.ts";

export interface DialSettings {
  connect: (to: IpAddress, trust: Trust) => Promise<Connection>;
  trust: Trust;
  resolve: Resolve;
}

/** Throws UNREACHABLE, AUTHENTICATION, TIMEOUT or CANCELLED. */
export async function dialUdp(address: string, settings: DialSettings, options: DialOptions): Promise<Link> {
  const attempt = (to: IpAddress) => new Attempt(to, address, settings);
  const { resolve } = settings;
  return await dialFirst(address, parseIpAddress("udp", address), { attempt, resolve, failures }, options);
}

/** One address. */
class Attempt implements DialAttempt {
  readonly at: string;
  readonly link: Promise<Link>;
  readonly #probe: Probe;
  readonly #result = Promise.withResolvers<Link>();
  #connection: Connection | undefined;
  #isOver = false;

  constructor(to: IpAddress, label: string, settings: DialSettings) {
    this.at = formatIpAddress("udp", to);
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
