// A process of a simulation: its sessions, and what it sent and got over each.

import type { PeerInfo, PeerSession } from "../../core/session/peer-session.ts";
import { Peers, type PeersOptions } from "../../core/session/peers.ts";
import type { Link } from "../../core/transport.ts";
import { certificateOf, identityOf, MESH_ID, verify, verifySignature } from "./identities.ts";
import { ProcessClock, type SimClock } from "./sim-clock.ts";
import type { Host, SimNetwork } from "./sim-network.ts";

const TYPE = 200;
/** After the type: who sent it (one number for each session object and lane), and which of its frames it is. */
const STAMP_BYTES = 9;

/** What one side of a session sent and got, on one lane. */
export class LaneLog {
  readonly id: number;
  readonly link: Link;
  sent = 0;
  got = 0;
  /** Which lane of the other side it hears. */
  hears: number | undefined;
  ends: (Error | undefined)[] = [];
  mustWait = false;
  drains = 0;
  /** The first frame that was not as it should be. */
  problem: string | undefined;

  constructor(id: number, link: Link) {
    this.id = id;
    this.link = link;
    link.attach({
      frame: (frame) => {
        this.problem ??= this.#problemOf(frame);
        this.got++;
      },
      drained: () => {
        this.mustWait = false;
        this.drains++;
      },
      closed: (error) => void this.ends.push(error),
    });
  }

  send(sizeBytes: number): void {
    if (this.ends.length > 0) return;
    const frame = new Uint8Array(STAMP_BYTES + sizeBytes);
    const view = new DataView(frame.buffer);
    frame[0] = TYPE;
    view.setUint32(1, this.id);
    view.setUint32(5, this.sent++);
    frame.fill(this.sent, STAMP_BYTES);
    if (!this.link.send(frame)) this.mustWait = true;
  }

  #problemOf(frame: Uint8Array): string | undefined {
    if (this.ends.length > 0) return "a frame came after the end";
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const [from, number] = [view.getUint32(1), view.getUint32(5)];
    this.hears ??= from;
    if (this.hears !== from) return `lane ${this.id} hears ${from} after ${this.hears}`;
    if (number !== this.got) return `lane ${this.id} got frame ${number} where ${this.got} was due`;
    const isWhole = frame.subarray(STAMP_BYTES).every((byte) => byte === ((number + 1) & 0xff));
    return isWhole ? undefined : `lane ${this.id} got frame ${number} with other bytes`;
  }
}

export interface SessionLog {
  session: PeerSession;
  main: LaneLog;
  bulk: LaneLog;
}

let nextLane = 1;

export class SimNode implements Host {
  readonly name: string;
  readonly node: number;
  readonly address: string;
  readonly clock: ProcessClock;
  readonly peers: Peers;
  readonly logs: SessionLog[] = [];
  readonly refused: Error[] = [];
  readonly introduced: number[] = [];
  /** Stands in for who looks for other ways to a peer. */
  onIntroduce: (peer: PeerInfo) => void = () => {};

  constructor(
    name: string,
    node: number,
    network: SimNetwork,
    { random, isHidden = false, ...more }: { random: () => number; isHidden?: boolean } & Partial<PeersOptions>,
  ) {
    this.name = name;
    this.node = node;
    this.address = isHidden ? "" : `sim://${name}`;
    this.clock = new ProcessClock(network.clock);
    const certificate = certificateOf(name);
    this.peers = new Peers({
      self: { node, name, role: "worker", meshId: MESH_ID, build: "test" },
      addresses: () => (isHidden ? [] : [this.address]),
      identity: () => identityOf(certificate),
      ...{ verify, verifySignature, random },
      clock: this.clock,
      dial: (address, options) => network.dial(this, address, options),
      onSession: (session) => this.#log(session),
      onRefused: (error) => void this.refused.push(error),
      introduce: (peer) => {
        this.introduced.push(peer.node);
        this.onIntroduce(peer);
      },
      ...more,
    });
    if (!isHidden) network.listen(this.address, this, (link) => this.peers.accept(link));
  }

  get info(): PeerInfo {
    return { node: this.node, name: this.name, role: "worker", addresses: this.address === "" ? [] : [this.address] };
  }

  /** The session with that node that lives, begun if need be, with its log. */
  to(other: SimNode): SessionLog {
    const session = this.peers.to(other.info);
    return this.logOf(session);
  }

  logOf(session: PeerSession): SessionLog {
    const log = this.logs.find((each) => each.session === session);
    if (!log) throw new Error("a session that was never announced");
    return log;
  }

  /** The live session with that node. */
  get(other: SimNode): SessionLog | undefined {
    const session = this.peers.get(other.node);
    return session && this.logOf(session);
  }

  #log(session: PeerSession): void {
    if (this.logs.some((log) => log.session === session)) throw new Error("a session was announced twice");
    const [main, bulk] = [new LaneLog(nextLane++, session.main), new LaneLog(nextLane++, session.bulk)];
    this.logs.push({ session, main, bulk });
  }
}

/** Lets memory links and promises do what they have to. */
export async function settle(turns = 12): Promise<void> {
  for (let i = 0; i < turns; i++) await null;
}

/** Lets simulated time pass, one event after the other. */
export async function run(clock: SimClock, forMs: number): Promise<void> {
  const end = clock.now() + forMs;
  await settle();
  while (clock.step(end)) await settle();
}
