// The UDP ports of a node: dialing goes from the port it listens on, so that one hole through a router serves all; from another where
// that one cannot reach the target, or is full. A hole to one other node has a port of its own, which is listened on beside that.
import { isIP } from "node:net";
import { MeshError } from "../../core/errors.ts";
import { isLoopback, unmapped } from "../../core/ip-address.ts";
import { type IpAddress, onThisMachine } from "../ip-address.ts";
import type { UdpTarget } from "./address.ts";
import type { Trust } from "./identity.ts";
import { type Connection, Endpoint } from "./quic.ts";

/** A port's connections slow each other down in the runtime: 0.13 ms for one round trip alone, 1.3 ms beside 1,000. */
const CONNECTIONS_PER_ENDPOINT = 250;

export class Endpoints {
  readonly #listening = new Set<Endpoint>();
  readonly #holes = new Set<Endpoint>();
  readonly #dialing = new Set<Endpoint>();
  readonly #perEndpoint: number;

  constructor(perEndpoint = CONNECTIONS_PER_ENDPOINT) {
    this.#perEndpoint = perEndpoint;
  }

  /** Ports in use. */
  get count(): number {
    return this.#listening.size + this.#holes.size + this.#dialing.size;
  }

  /** One to listen on. That of a hole is dialed from only when it is asked for. */
  add(at: IpAddress, isHole = false): Endpoint {
    const endpoint = new Endpoint(at);
    (isHole ? this.#holes : this.#listening).add(endpoint);
    return endpoint;
  }

  /** It listens no longer: its port is free once its connections are over. */
  async release(endpoint: Endpoint): Promise<void> {
    this.#listening.delete(endpoint);
    this.#holes.delete(endpoint);
    await endpoint.close();
  }

  /** Rejects with UNREACHABLE when nothing listens on the port `from`. */
  async connect(to: IpAddress, trust: Trust, from: UdpTarget["from"]): Promise<Connection> {
    const endpoint = from === undefined ? this.#ordinary(to) : this.#on(from, to);
    try {
      const connection = await endpoint.connect(to, trust);
      void connection.closed.then(() => this.#tidy(endpoint));
      return connection;
    } catch (error) {
      this.#tidy(endpoint);
      throw error;
    }
  }

  #on(port: number, to: IpAddress): Endpoint {
    const all = [...this.#holes, ...this.#listening].filter(({ address }) => address.port === port);
    const endpoint = all.find((each) => each.isUsable && canReach(each.address, to));
    if (endpoint) return endpoint;
    const why = all.length === 0 ? "nothing here listens on it" : "what listens on it does not reach that address";
    throw new MeshError("UNREACHABLE", `UDP port ${port} cannot be dialed from: ${why}`);
  }

  #ordinary(to: IpAddress): Endpoint {
    const all = [...this.#listening, ...this.#dialing];
    const fitting = all.find(
      (each) => each.isUsable && each.connections.size < this.#perEndpoint && canReach(each.address, to),
    );
    if (fitting) return fitting;
    const isV4 = isIP(unmapped(to.host)) === 4;
    const made = new Endpoint(isV4 ? onThisMachine({ host: "::", port: 0 }) : { host: "::", port: 0 });
    this.#dialing.add(made);
    return made;
  }

  #tidy(endpoint: Endpoint): void {
    if (!endpoint.isIdle) return;
    if (this.#dialing.delete(endpoint)) void endpoint.close();
  }
}

/** Whether packets from a socket bound to `from` get to `to`; not whether anybody answers. Never to itself. */
export function canReach(from: IpAddress, to: IpAddress): boolean {
  const host = unmapped(to.host);
  if (from.port === to.port && (isLoopback(host) || from.host === host)) return false;
  if (from.host === "::") return true;
  if (isIP(from.host) !== isIP(host)) return false;
  return from.host === "0.0.0.0" || isLoopback(from.host) === isLoopback(host);
}
