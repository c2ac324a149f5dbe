// The UDP ports of a node: dialing goes from the port it listens on, so that one hole through a router serves all; from another where
// that one cannot reach the target, or is full.
import { isIP } from "node:net";
import { type IpAddress, onThisMachine } from "../ip-address.ts";
import type { Trust } from "./identity.ts";
import { type Connection, Endpoint } from "./quic.ts";

/** A port's connections slow each other down in the runtime: 0.13 ms for one round trip alone, 1.3 ms beside 1,000. */
const CONNECTIONS_PER_ENDPOINT = 250;

export class Endpoints {
  readonly #listening = new Set<Endpoint>();
  readonly #dialing = new Set<Endpoint>();
  readonly #perEndpoint: number;

  constructor(perEndpoint = CONNECTIONS_PER_ENDPOINT) {
    this.#perEndpoint = perEndpoint;
  }

  /** Ports in use. */
  get count(): number {
    return this.#listening.size + this.#dialing.size;
  }

  /** One to listen on. */
  add(at: IpAddress): Endpoint {
    const endpoint = new Endpoint(at);
    this.#listening.add(endpoint);
    return endpoint;
  }

  /** It listens no longer: its port is free once its connections are over. */
  async release(endpoint: Endpoint): Promise<void> {
    this.#listening.delete(endpoint);
    await endpoint.close();
  }

  /** From the port that is to be used for that target. */
  async connect(to: IpAddress, trust: Trust): Promise<Connection> {
    const endpoint = this.#from(to);
    try {
      const connection = await endpoint.connect(to, trust);
      void connection.closed.then(() => this.#tidy(endpoint));
      return connection;
    } catch (error) {
      this.#tidy(endpoint);
      throw error;
    }
  }

  #from(to: IpAddress): Endpoint {
    const all = [...this.#listening, ...this.#dialing];
    const fitting = all.find(
      (each) => each.isUsable && each.connections.size < this.#perEndpoint && canReach(each.address, to),
    );
    if (fitting) return fitting;
    const isV4 = isIP(to.host) === 4;
    const made = new Endpoint(isV4 ? onThisMachine({ host: "::", port: 0 }) : { host: "::", port: 0 });
    this.#dialing.add(made);
    return made;
  }

  #tidy(endpoint: Endpoint): void {
    if (endpoint.connections.size === 0 && this.#dialing.delete(endpoint)) void endpoint.close();
  }
}

/** Whether packets from a socket bound to `from` get to `to`; not whether anybody answers. Never to itself. */
export function canReach(from: IpAddress, to: IpAddress): boolean {
  if (from.port === to.port && (isLoopback(to.host) || from.host === to.host)) return false;
  if (from.host === "::") return true;
  if (isIP(from.host) !== isIP(to.host)) return false;
  return from.host === "0.0.0.0" || isLoopback(from.host) === isLoopback(to.host);
}

function isLoopback(host: string): boolean {
  return host === "::1" || host.startsWith("127.");
}
