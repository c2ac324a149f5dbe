// Ways through a rendezvous, for nodes between which there is no other: it forwards what it cannot read.
import { hostAndPort } from "../ip-address.ts";
import type { Log } from "../log.ts";
import type { Node } from "../node/node.ts";
import { type Relay, type Relayed, relayed } from "../rendezvous/bodies.ts";
import type { PeerSession } from "../session/peer-session.ts";
import type { MeshTransport } from "../transport.ts";
import { checkBody } from "../wire/body-checks.ts";
import { MessageType } from "../wire/message-types.ts";
import { ASK_LIMIT_MS, type Places } from "./places.ts";

export interface RelayWaysOptions {
  node: Node;
  places: Places;
  transport: MeshTransport;
  /** Where this node listens by that scheme; undefined where it does not. */
  listener(scheme: string): string | undefined;
  log: Log;
}

export class RelayWays {
  readonly #options: RelayWaysOptions;
  readonly #ways = new WeakMap<PeerSession, readonly string[]>();
  readonly #refusals = new WeakMap<PeerSession, string>();
  readonly #end = new AbortController();

  constructor(options: RelayWaysOptions) {
    this.#options = options;
  }

  /** Has a rendezvous forward between that peer and this node; both hear where. */
  async ask(rendezvous: number, session: PeerSession, by: Relay["by"]): Promise<void> {
    const body: Relay = { node: session.node, by };
    const options = { timeoutMs: ASK_LIMIT_MS, keepsProcess: false };
    const { node } = this.#options;
    try {
      const answer = await node.request({ node: rendezvous, slot: 0 }, MessageType.relay, body, options);
      this.#refusals.delete(session);
      await this.use(session, checkBody(relayed, "the answer to relay", answer), rendezvous);
    } catch (error) {
      const { message } = error as Error;
      this.#refusals.set(session, message);
      this.#options.log.warn("not relayed", { node: session.name, error: message });
    }
  }

  /** Why the last relay that was asked for is not to be had; undefined when it is. */
  refusal(session: PeerSession): string | undefined {
    return this.#refusals.get(session);
  }

  /** Goes there. By UDP both sides dial: only what was sent opens a router for what is to come. */
  async use(session: PeerSession, { by, port, token, dials }: Relayed, rendezvous: number): Promise<void> {
    const [reached] = await this.#options.places.reached(rendezvous);
    const places = (reached?.hosts ?? []).map((host) => hostAndPort(host, port));
    if (by === "udp") {
      const ways = places.map((place) => `relay://${place}`);
      this.#add(session, ways);
    } else if (token && dials) {
      const hex = Buffer.from(token).toString("hex");
      const ways = places.map((place) => `tcprelay://${place}?token=${hex}`);
      this.#add(session, ways);
    } else if (token) await this.#splice(places, token);
  }

  close(): void {
    this.#end.abort();
  }

  #add(session: PeerSession, ways: readonly string[]): void {
    const old = this.#ways.get(session) ?? [];
    session.removeWays(old.filter((way) => !ways.includes(way)));
    session.addWays(ways);
    this.#ways.set(session, ways);
  }

  async #splice(places: readonly string[], token: Uint8Array): Promise<void> {
    const { listener, transport, log } = this.#options;
    const to = listener("tcp");
    if (to === undefined) return;
    for (const relay of places) {
      try {
        return await transport.spliceRelay({ relay, token, to, signal: this.#end.signal });
      } catch (error) {
        log.warn("relay not reached", { relay, error: (error as Error).message });
      }
    }
  }
}
