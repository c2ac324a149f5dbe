// The rendezvous of the mesh, as far as this node reaches them, and where they answer echoes.
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { hostOf } from "../ip-address.ts";
import type { Node } from "../node/node.ts";
import type { EchoPlace } from "../punch/hole.ts";
import { type MeetPlaces, placesAnswer } from "../rendezvous/bodies.ts";
import type { PeerInfo, PeerSession } from "../session/peer-session.ts";
import type { Peers } from "../session/peers.ts";
import { checkBody } from "../wire/body-checks.ts";
import { MessageType } from "../wire/message-types.ts";

/** How long a rendezvous may take to answer. */
export const ASK_LIMIT_MS = 3_000;
/** Addresses of one rendezvous that are tried. */
const HOST_LIMIT = 4;

/** A rendezvous that can be asked now. */
export interface ReachedRendezvous {
  node: number;
  name: string;
  /** IP addresses at which it may be sent packets, the likeliest first. */
  hosts: readonly string[];
  echoes: readonly EchoPlace[];
  /** Whether it uses UDP: answers echoes, and relays by it. */
  usesUdp: boolean;
}

export interface PlacesOptions {
  node: Node;
  peers: Pick<Peers, "get" | "to">;
  /** The rendezvous of the mesh, best first. */
  known(): readonly PeerInfo[] | Promise<readonly PeerInfo[]>;
}

export class Places {
  readonly #options: PlacesOptions;
  /** By the session with the rendezvous: what it told is good as long as that. */
  readonly #told = new Map<string, Promise<MeetPlaces>>();

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  /** Those that answer, best first; only the one of that number, if one is given. Those with a session spare the others. */
  async reached(only?: number): Promise<ReachedRendezvous[]> {
    const known = await this.#options.known();
    const wanted = known.filter(({ node }) => only === undefined || node === only);
    const sessions = wanted.map((info) => ({ info, session: this.#options.peers.to(info) }));
    const up = sessions.filter(({ session }) => session.isUp);
    const asked = (up.length > 0 ? up : sessions).map(({ info, session }) => this.#ask(session, info));
    const answers = await Promise.allSettled(asked);
    return answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  }

  async #ask(session: PeerSession, { node, name, addresses }: PeerInfo): Promise<ReachedRendezvous> {
    const { echoPorts: ports, id, key } = await this.#places(session);
    const hosts = await hostsOf(session, addresses);
    const usesUdp = ports.length > 0;
    return { node, name, hosts, usesUdp, echoes: usesUdp ? hosts.map((host) => ({ host, ports, id, key })) : [] };
  }

  #places(session: PeerSession): Promise<MeetPlaces> {
    const told = this.#told.get(session.epoch);
    if (told !== undefined) return told;
    const to = { node: session.node, slot: 0 };
    const options = { timeoutMs: ASK_LIMIT_MS, keepsProcess: false };
    const asked = this.#options.node
      .request(to, MessageType.meetPlaces, {}, options)
      .then((answer) => checkBody(placesAnswer, "the answer to meet-places", answer));
    this.#told.set(session.epoch, asked);
    const forget = () => this.#told.delete(session.epoch);
    asked.catch(forget);
    void session.over.then(forget);
    return asked;
  }
}

/** Where it was reached comes first. What leads there by SSH says nothing of where its packets come from. */
async function hostsOf({ path }: PeerSession, addresses: readonly string[]): Promise<string[]> {
  const isDirect = path !== undefined && ["tcp", "udp"].includes(path.kind);
  const names = [...(isDirect ? [path.address] : []), ...addresses].map(hostOf);
  const found = await Promise.all([...new Set(names)].slice(0, 2 * HOST_LIMIT).map(ipsOf));
  return [...new Set(found.flat())].slice(0, HOST_LIMIT);
}

async function ipsOf(host: string): Promise<string[]> {
  if (isIP(host)) return [host];
  const found = await lookup(host, { all: true }).catch(() => []);
  return found.map(({ address }) => address);
}
