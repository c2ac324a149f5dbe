// Dialing over UDP: directly, through a hole, or to the port of a relay.
import { MeshError } from "../../core/errors.ts";
import type { DialOptions, Link } from "../../core/transport.ts";
import { type DialAttempt, dialFirst } from "../dial-race.ts";
import { formatIpAddress, type IpAddress } from "../ip-address.ts";
import type { Resolve } from "../resolve.ts";
import { parseUdpTarget, type UdpTarget } from "./address.ts";
import * as failures from "./failures.ts";
import type { Trust } from "./identity.ts";
import { Probe } from "./probe.ts";
import type { Connection } from "./quic.ts";
import { beginLink } from "./streams.ts";

export interface DialSettings {
  connect: (to: IpAddress, trust: Trust, from: UdpTarget["from"]) => Promise<Connection>;
  trust: Trust;
  resolve: Resolve;
}

/** Throws UNREACHABLE, AUTHENTICATION, TIMEOUT or CANCELLED. */
export async function dialUdp(address: string, settings: DialSettings, options: DialOptions): Promise<Link> {
  const target = parseUdpTarget(address);
  const attempt = (to: IpAddress) => new Attempt({ ...target, to }, address, settings);
  const { resolve } = settings;
  return await dialFirst(address, target.to, { attempt, resolve, failures }, options);
}

/** One address. */
class Attempt implements DialAttempt {
  readonly at: string;
  readonly link: Promise<Link>;
  readonly #probe: Probe;
  readonly #result = Promise.withResolvers<Link>();
  #connection: Connection | undefined;
  #isOver = false;

  constructor(target: UdpTarget, label: string, settings: DialSettings) {
    const { to, isDirect } = target;
    this.at = formatIpAddress("udp", to);
    this.link = this.#result.promise;
    this.link.catch(() => {});
    this.#probe = new Probe(to, { sends: isDirect, failed: (error) => this.#fail(error) });
    this.#open(target, label, settings).then(
      (link) => this.#opened(link),
      (error) => this.#fail(error),
    );
  }

  /** Ends it, also when it has its link already. */
  abandon(): void {
    this.#fail(new MeshError("CANCELLED", "another address was faster"));
    this.#connection?.cut("another way was faster");
  }

  async #open({ to, from }: UdpTarget, label: string, { connect, trust }: DialSettings): Promise<Link> {
    await this.#probe.asked;
    if (this.#isOver) return await this.link; // rejected
    const connection = await connect(to, trust, from);
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
