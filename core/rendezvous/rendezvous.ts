// A rendezvous: tells nodes behind routers their outside addresses, brings together those that want to meet, and forwards
// between those that cannot. It serves members alone, sees nothing of what they say to each other, and keeps nothing.
//
// It is attached to a node that has sessions: the coordinator's, or one of its own. It must not know who is in the mesh
// beyond those sessions.
import { type Clock, systemClock } from "../clock.ts";
import { REPORTED_PAIRS } from "../coordinator/bodies.ts";
import { Door, type DoorNode, type Peer } from "../coordinator/door.ts";
import { MeshError } from "../errors.ts";
import type { Role } from "../identity/names.ts";
import type { Log } from "../log.ts";
import { MessageType } from "../wire/message-types.ts";
import { maySend } from "../wire/permissions.ts";
import { type Invited, type MeetPlaces, meet, meetPlaces, type Relayed, relay } from "./bodies.ts";
import { type DroppedEchoes, EchoGate } from "./echo-gate.ts";
import { EchoPorts } from "./echo-ports.ts";
import { Members } from "./members.ts";
import { type PairingLimits, Pairings } from "./pairings.ts";
import { type RelayedPair, type RelayLimits, Relays } from "./relays.ts";
import type { RendezvousSettings } from "./settings.ts";
import { Tally } from "./tally.ts";
import { type TcpRelayMetrics, TcpRelays } from "./tcp-relays.ts";
import { UdpPorts } from "./udp-port.ts";
import { type UdpRelayMetrics, UdpRelays } from "./udp-relay.ts";

export interface RendezvousOptions extends RendezvousSettings {
  node: DoorNode;
  /** The role of that node. */
  role: Extract<Role, "coordinator" | "rendezvous">;
  /** Who has a session here, by its number. */
  peers(node: number): Peer | undefined;
  log: Log;
  clock?: Clock;
  /** The address to bind; default all of this machine. */
  host?: string;
  /** Whether it may use UDP; else it answers no echoes, and relays by TCP alone. Default true. */
  usesUdp?: boolean;
  pairings?: Partial<PairingLimits>;
  relays?: Partial<Omit<RelayLimits, "all">>;
}

/** What a rendezvous did since it began. */
export interface RendezvousMetrics {
  /** Nodes that may echo. */
  members: number;
  /** Requests to meet that wait for the other. */
  waiting: number;
  /** Pairs that were brought together. */
  met: number;
  /** Requests for a relay that a limit kept from it. */
  refused: number;
  /** Those that are relayed and have sent the most. */
  pairs: RelayedPair[];
  echoes: { answered: number; dropped: DroppedEchoes };
  udpRelay: UdpRelayMetrics;
  tcpRelay: TcpRelayMetrics;
}

export class Rendezvous {
  readonly #options: RendezvousOptions;
  readonly #parts: Parts;
  readonly #pairings: Pairings;
  readonly #relays: Relays;
  readonly #tally: Tally;
  #isClosed = false;

  /** Opens its ports and answers from then on. Throws UNREACHABLE or FULL when there is no port for it. */
  static async start(options: RendezvousOptions): Promise<Rendezvous> {
    const { clock = systemClock, host, ports, usesUdp = true, relayBytesPerSecond: bytesPerSecond, log } = options;
    const members = new Members();
    const gate = new EchoGate(members);
    const udpPorts = new UdpPorts(host, ports);
    const echo = usesUdp ? await EchoPorts.open(udpPorts, gate, clock) : undefined;
    if (echo?.numbers.length === 1) log.warn("rendezvous has one UDP port only: it cannot tell the kinds of routers");
    const udp = new UdpRelays({ clock, ports: udpPorts, members, gate, bytesPerSecond });
    const tcp = new TcpRelays({ clock, host, ports, bytesPerSecond });
    return new Rendezvous(options, { clock, members, gate, echo, udp, tcp });
  }

  private constructor(options: RendezvousOptions, parts: Parts) {
    const { pairings, relays, relayPairs } = options;
    const { clock, udp, tcp } = parts;
    this.#options = options;
    this.#parts = parts;
    const find = (number: number) => this.#find(number);
    this.#pairings = new Pairings({
      ...{ clock, find },
      invite: (to, { node, name, role }) => this.#tell(to, MessageType.invited, { node, name, role } satisfies Invited),
      ...(pairings && { limits: pairings }),
    });
    this.#relays = new Relays({
      ...{ clock, find, open: { udp: parts.echo ? udp.open : refuseUdp, tcp: tcp.open } },
      tell: (to, relayed) => this.#tell(to, MessageType.relayed, relayed),
      limits: { ...relays, ...(relayPairs !== undefined && { all: relayPairs }) },
    });
    this.#tally = new Tally(options.log, clock, () => this.metrics);
    this.#listen();
  }

  /** UDP ports at which echoes are answered. */
  get echoPorts(): readonly number[] {
    return this.#parts.echo?.numbers ?? [];
  }

  get metrics(): RendezvousMetrics {
    const { members, gate, udp, tcp } = this.#parts;
    return {
      members: members.size,
      waiting: this.#pairings.waiting,
      met: this.#pairings.met,
      refused: this.#relays.refused,
      pairs: this.#relays.busiest(REPORTED_PAIRS),
      echoes: { answered: gate.answered, dropped: { ...gate.dropped } },
      udpRelay: { ...udp.metrics, dropped: { ...udp.metrics.dropped } },
      tcpRelay: tcp.metrics,
    };
  }

  /** The session with that node is over. */
  peerGone(node: number): void {
    this.#parts.members.gone(node);
    this.#pairings.gone(node);
    this.#relays.gone(node);
  }

  /** Closes its ports and ends what goes through them; who asks after that is told. */
  async close(): Promise<void> {
    this.#tally.close();
    this.#isClosed = true;
    this.#pairings.close();
    this.#relays.close();
    this.#parts.echo?.close();
    await this.#parts.tcp.close();
  }

  #listen(): void {
    const { node, role, peers, log } = this.#options;
    const problem = (error: unknown) => log.warn("rendezvous", { error: (error as Error).message });
    const door = new Door(node, role, { get: peers }, problem);
    door.on(MessageType.meetPlaces, meetPlaces, (_, asker) => this.#unlessClosed(() => this.#places(asker)));
    door.on(MessageType.meet, meet, (body, asker) => this.#unlessClosed(() => this.#pairings.meet(asker, body)));
    door.on(MessageType.relay, relay, (body, asker) => this.#unlessClosed(() => this.#relays.ask(asker, body)));
  }

  #unlessClosed<T>(answer: () => T): T {
    if (this.#isClosed) throw new MeshError("UNREACHABLE", "this rendezvous is ending: ask another one, or later");
    return answer();
  }

  #places({ node }: Peer): MeetPlaces {
    const { id, key } = this.#parts.members.of(node);
    return { echoPorts: [...this.echoPorts], id, key };
  }

  /** Nodes that can be met: not, say, another rendezvous. */
  #find(node: number): Peer | undefined {
    const { role, peers } = this.#options;
    const peer = peers(node);
    return peer && maySend(role, MessageType.invited, peer.role) ? peer : undefined;
  }

  #tell({ node }: Peer, type: number, body: Invited | Relayed): void {
    this.#options.node.notify({ node, slot: 0 }, type, body);
  }
}

async function refuseUdp(): Promise<never> {
  throw new MeshError("UNREACHABLE", "this rendezvous uses no UDP, as mesh.toml says: ask for a relay by TCP");
}

/** What it is made of. */
interface Parts {
  clock: Clock;
  members: Members;
  gate: EchoGate;
  /** Undefined where it uses no UDP. */
  echo: EchoPorts | undefined;
  udp: UdpRelays;
  tcp: TcpRelays;
}
