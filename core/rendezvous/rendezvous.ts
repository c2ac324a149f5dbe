// A rendezvous: tells nodes behind routers their outside addresses, brings together those that want to meet, and forwards
// between those that cannot. It serves members alone, sees nothing of what they say to each other, and keeps nothing.
//
// It is attached to a node that has sessions: the coordinator's, or one of its own. It must not know who is in the mesh
// beyond those sessions.
import { type Clock, systemClock } from "../clock.ts";
import { Door, type DoorNode, type Peer } from "../coordinator/door.ts";
import type { Role } from "../identity/names.ts";
import type { Log } from "../log.ts";
import { MessageType } from "../wire/message-types.ts";
import { maySend } from "../wire/permissions.ts";
import { type Invited, type MeetPlaces, meet, meetPlaces } from "./bodies.ts";
import { type DroppedEchoes, EchoGate } from "./echo-gate.ts";
import { EchoPorts } from "./echo-ports.ts";
import { type MeetingLimits, Meetings } from "./meetings.ts";
import { Members } from "./members.ts";
import { type PortRange, UdpPorts } from "./udp-port.ts";

export interface RendezvousOptions {
  node: DoorNode;
  /** The role of that node. */
  role: Extract<Role, "coordinator" | "rendezvous">;
  /** Who has a session here, by its number. */
  peers(node: number): Peer | undefined;
  log: Log;
  clock?: Clock;
  /** UDP and TCP ports to use; default any. */
  ports?: PortRange;
  /** The address to bind; default all of this machine. */
  host?: string;
  meetings?: Partial<MeetingLimits>;
}

/** What a rendezvous did since it began, for status. */
export interface RendezvousMetrics {
  /** Nodes that may echo. */
  members: number;
  /** Requests to meet that wait for the other. */
  waiting: number;
  /** Pairs that were brought together. */
  met: number;
  echoes: { answered: number; dropped: DroppedEchoes };
}

export class Rendezvous {
  readonly #options: RendezvousOptions;
  readonly #members: Members;
  readonly #gate: EchoGate;
  readonly #echo: EchoPorts;
  readonly #meetings: Meetings;

  /** Opens its ports and answers from then on. Throws UNREACHABLE or FULL when there is no port for it. */
  static async start(options: RendezvousOptions): Promise<Rendezvous> {
    const { clock = systemClock, host, ports } = options;
    const members = new Members();
    const gate = new EchoGate(members);
    const echo = await EchoPorts.open(new UdpPorts(host, ports), gate, clock);
    if (echo.numbers.length < 2) {
      options.log.warn("rendezvous has one UDP port only", { port: echo.numbers[0], lacks: "NAT kinds are not found" });
    }
    return new Rendezvous(options, members, gate, echo);
  }

  private constructor(options: RendezvousOptions, members: Members, gate: EchoGate, echo: EchoPorts) {
    const { clock = systemClock, meetings: limits } = options;
    this.#options = options;
    this.#members = members;
    this.#gate = gate;
    this.#echo = echo;
    this.#meetings = new Meetings({
      clock,
      find: (node) => this.#find(node),
      invite: (to, other) => this.#invite(to, other),
      ...(limits && { limits }),
    });
    this.#listen();
  }

  /** UDP ports at which echoes are answered. */
  get echoPorts(): readonly number[] {
    return this.#echo.numbers;
  }

  get metrics(): RendezvousMetrics {
    return {
      members: this.#members.size,
      waiting: this.#meetings.waiting,
      met: this.#meetings.met,
      echoes: { answered: this.#gate.answered, dropped: { ...this.#gate.dropped } },
    };
  }

  /** The session with that node is over. */
  peerGone(node: number): void {
    this.#members.gone(node);
    this.#meetings.gone(node);
  }

  async close(): Promise<void> {
    this.#meetings.close();
    this.#echo.close();
  }

  #listen(): void {
    const { node, role, peers, log } = this.#options;
    const problem = (error: unknown) => log.warn("rendezvous", { error: (error as Error).message });
    const door = new Door(node, role, { get: peers }, problem);
    door.on(MessageType.meetPlaces, meetPlaces, (_, asker) => this.#places(asker));
    door.on(MessageType.meet, meet, (body, asker) => this.#meetings.meet(asker, body));
  }

  #places({ node }: Peer): MeetPlaces {
    const { id, key } = this.#members.of(node);
    return { echoPorts: [...this.echoPorts], id, key };
  }

  /** Nodes that can be met: not, say, another rendezvous. */
  #find(node: number): Peer | undefined {
    const { role, peers } = this.#options;
    const peer = peers(node);
    return peer && maySend(role, MessageType.invited, peer.role) ? peer : undefined;
  }

  #invite({ node }: Peer, other: Peer): void {
    const invited: Invited = { node: other.node, name: other.name, role: other.role };
    this.#options.node.notify({ node, slot: 0 }, MessageType.invited, invited);
  }
}
