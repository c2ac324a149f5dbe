// A rendezvous on loopback and nodes that have sessions with it; what it is asked goes over memory links.
import { randomBytes } from "node:crypto";
import { type Clock, systemClock } from "../../core/clock.ts";
import type { Peer } from "../../core/coordinator/door.ts";
import type { Role } from "../../core/identity/names.ts";
import type { LogFields } from "../../core/log.ts";
import { Node } from "../../core/node/node.ts";
import type { Invited, Meet, MeetPlaces, Met, Relayed } from "../../core/rendezvous/bodies.ts";
import { type EchoAnswer, encodeEchoRequest, readEchoAnswer } from "../../core/rendezvous/echo.ts";
import { Rendezvous, type RendezvousOptions } from "../../core/rendezvous/rendezvous.ts";
import type { Link } from "../../core/transport.ts";
import { Codec } from "../../core/wire/codec.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";
import { until } from "../support/until.ts";

export const RENDEZVOUS_NODE = 16;

export type TestOptions = Partial<
  Pick<
    RendezvousOptions,
    "role" | "ports" | "host" | "pairings" | "relays" | "relayBytesPerSecond" | "relayPairs" | "usesUdp"
  >
>;

/** Tells its name and role by getters, as sessions do. */
class TestPeer implements Peer {
  readonly node: number;
  readonly #name: string;
  readonly #role: Role;

  constructor(node: number, name: string, role: Role) {
    this.node = node;
    this.#name = name;
    this.#role = role;
  }

  get name(): string {
    return this.#name;
  }

  get role(): Role {
    return this.#role;
  }
}

export class TestRendezvous {
  readonly warnings: string[] = [];
  readonly told: LogFields[] = [];
  readonly clock: Clock;
  rendezvous!: Rendezvous;
  readonly #node = new Node({ node: RENDEZVOUS_NODE, slot: 0 }, new Codec());
  readonly #peers = new Map<number, Peer>();

  private constructor(clock: Clock) {
    this.clock = clock;
    this.#node.onPeerLost = ({ node }) => {
      this.#peers.delete(node);
      this.rendezvous.peerGone(node);
    };
  }

  static async start(options: TestOptions = {}, clock: Clock = systemClock): Promise<TestRendezvous> {
    const test = new TestRendezvous(clock);
    const warn = (event: string) => void test.warnings.push(event);
    test.rendezvous = await Rendezvous.start({
      node: test.#node,
      role: "rendezvous",
      peers: (node) => test.#peers.get(node),
      log: { info: (_, fields = {}) => void test.told.push(fields), warn, error: warn },
      clock,
      host: "127.0.0.1",
      ...options,
    });
    return test;
  }

  get metrics() {
    return this.rendezvous.metrics;
  }

  /** Its session is over, and the link still there. */
  forget(node: number): void {
    this.#peers.delete(node);
    this.rendezvous.peerGone(node);
  }

  /** A node with a session here. */
  join(name: string, role: Role = "worker", id?: number): TestNode {
    const member = new TestNode(name, role, id);
    const [near, far] = memoryPair(name);
    this.#peers.set(member.id, new TestPeer(member.id, name, role));
    this.#node.addNode({ node: member.id, role, link: far });
    member.node.addNode({ node: RENDEZVOUS_NODE, role: "rendezvous", link: near });
    member.link = near;
    return member;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rendezvous.close();
  }
}

let lastId = 100;

export class TestNode {
  readonly id: number;
  readonly name: string;
  readonly role: Role;
  readonly node: Node;
  readonly invitations: Invited[] = [];
  readonly relays: Relayed[] = [];
  link!: Link;

  constructor(name: string, role: Role, id = ++lastId) {
    this.id = id;
    this.name = name;
    this.role = role;
    this.node = new Node({ node: id, slot: 0 }, new Codec());
    const got = <T>(type: number, list: T[]) =>
      this.node.handle(type, ({ payload }) => void list.push(this.node.codec.decode(payload) as T));
    got(MessageType.invited, this.invitations);
    got(MessageType.relayed, this.relays);
  }

  ask<T>(type: number, body: unknown): Promise<T> {
    return this.node.request({ node: RENDEZVOUS_NODE, slot: 0 }, type, body) as Promise<T>;
  }

  places(): Promise<MeetPlaces> {
    return this.ask(MessageType.meetPlaces, {});
  }

  meet(node: number, more: Partial<Meet> = {}): Promise<Met> {
    const candidates = [`10.0.0.${this.id % 256}:4000`];
    return this.ask(MessageType.meet, { node, candidates, mapping: "unknown", ...more });
  }

  relay(node: number, by: "udp" | "tcp" = "udp"): Promise<Relayed> {
    return this.ask(MessageType.relay, { node, by });
  }

  leave(): void {
    this.link.close();
  }
}

/** A UDP port of a node, or of a stranger. */
export class TestPort {
  readonly got: { bytes: Buffer; port: number; host: string }[] = [];
  readonly #socket: Bun.udp.Socket<"buffer">;
  readonly #host: string;

  private constructor(socket: Bun.udp.Socket<"buffer">, host: string) {
    this.#socket = socket;
    this.#host = host.includes(":") ? "::1" : "127.0.0.1";
  }

  static async open(host = "127.0.0.1", port = 0): Promise<TestPort> {
    const socket = await Bun.udpSocket({
      hostname: host,
      port,
      socket: { data: (_, bytes, port, from) => void test.got.push({ bytes, port, host: from }), error: () => {} },
    });
    const test = new TestPort(socket, host);
    return test;
  }

  get port(): number {
    return this.#socket.port;
  }

  send(bytes: Uint8Array | string, port: number): void {
    this.#socket.send(bytes, port, this.#host);
  }

  /** Until so many datagrams have come in all. */
  async received(count: number): Promise<string[]> {
    await until(() => this.got.length >= count, { what: `${count} datagrams; ${this.got.length} have come` });
    return this.got.map(({ bytes }) => bytes.toString());
  }

  get receivedBytes(): number {
    return this.got.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

/** The first of so many UDP ports that follow each other and are free; not of those that the system gives out by itself. */
export async function freeRange(count: number): Promise<number> {
  const first = 20_000 + Math.floor(Math.random() * 10_000);
  for (let port = first; port < first + count; port++) {
    const isFree = await TestPort.open("127.0.0.1", port).then(
      (opened) => {
        opened[Symbol.dispose]();
        return true;
      },
      () => false,
    );
    if (!isFree) return await freeRange(count);
  }
  return first;
}

/** Asks that port for an echo, from this one, until it answers. */
export async function echoFrom(
  port: TestPort,
  to: number,
  { id, key }: MeetPlaces,
  other = false,
  timeoutMs = 10_000,
): Promise<EchoAnswer> {
  const request = encodeEchoRequest({ id, transaction: randomBytes(8), fromOtherPort: other }, key);
  const find = () => port.got.map(({ bytes }) => readEchoAnswer(bytes, key)).find((answer) => isTo(answer, request));
  let asks = 0;
  const asked = () => {
    if (find()) return true;
    if (asks++ % 20 === 0) port.send(request, to); // again, as a full buffer loses it
    return false;
  };
  await until(asked, { what: `an echo of port ${to}`, timeoutMs });
  return find()!;
}

function isTo(answer: EchoAnswer | undefined, request: Uint8Array): boolean {
  return answer !== undefined && Buffer.compare(answer.transaction, request.subarray(24, 32)) === 0;
}
