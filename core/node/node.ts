// One process in the mesh: its address, its links to others, and who here gets which message.
// Forwards by header alone. Must not know transports, jobs or what payloads mean.
import { type Clock, systemClock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Link } from "../transport.ts";
import type { Codec } from "../wire/codec.ts";
import {
  type Address,
  emptyMessage,
  FLAG_MORE,
  FLAG_REQUEST,
  HEADER_BYTES,
  type Message,
  readMessage,
  writeHeader,
} from "../wire/message.ts";
import { MessageType, messageTypeName, PROTOCOL_VERSION } from "../wire/message-types.ts";
import { type Draft, Drafts } from "./drafts.ts";
import type { Lane } from "./lane.ts";
import { Outbox } from "./outbox.ts";
import { Peer, type PeerRole } from "./peer.ts";
import { Reassembly } from "./reassembly.ts";
import { cancelled, type RequestOptions, Requests } from "./requests.ts";

export type { RequestOptions } from "./requests.ts";

/** Gets messages of one type or mailbox. The message object is reused: take what must outlive the call. */
export type MessageHandler = (message: Message) => void;
/** Answers a request; what it returns or throws travels back. */
export type RequestHandler = (body: never, from: Address) => unknown;

/** A session to another node. */
export interface NodeRoute {
  node: number;
  role: PeerRole;
  /** Carries messages; lives as long as the session. */
  link: Link;
  /** A second one, for the pieces of large messages; gone with the first. */
  bulk?: Link;
}

/** The first message on a link between processes of one node. */
interface Hello {
  protocol: number;
}

/** The answer to a hello that is not accepted; the link ends after it. */
interface Refused {
  reason: string;
}

const NOTHING = new Uint8Array(0);
const HELLO_TIMEOUT_MS = 5_000;
/** All that somebody who has not said hello gets to say. */
const HELLO_LIMIT_BYTES = 4 * 1024;

function isSame(a: Address, b: Address): boolean {
  return a.node === b.node && a.slot === b.slot;
}

export class Node {
  readonly address: Address;
  readonly codec: Codec;
  /** Called when the last link to a peer ended; `error` is missing when the other side ended it on purpose. */
  onPeerLost: (peer: Address, error?: Error) => void = () => {};
  /** Called with a process that a `send` asked to wait for, when it can take more. */
  onDrained: (to: Address) => void = () => {};
  /** Called with what went wrong while a message was handled and nobody waits for an answer. */
  onProblem: (error: unknown) => void = () => {};
  /** Called when somebody dialed and was sent away, with the reason. */
  onRefused: (error: MeshError) => void = () => {};
  /** Asked for a session to a node that none leads to; may call `addNode`. */
  onNoRoute: (node: number) => void = () => {};
  /** Whether a node of that role may send this type of message to or through this one. */
  permits: (role: PeerRole, type: number) => boolean = () => true;

  readonly #clock: Clock;
  /** Processes of the own node, by slot: the link on which each is written to, always the same while it lives. */
  readonly #slots = new Map<number, Peer>();
  /** Other nodes, by their number. */
  readonly #nodes = new Map<number, Peer>();
  /** Further links to peers, that are only read. */
  readonly #further = new Set<Peer>();
  readonly #links = new Set<Link>();
  readonly #handlers: (MessageHandler | undefined)[] = [];
  readonly #mailboxes = new Map<number, MessageHandler>();
  readonly #requests: Requests;
  readonly #reassembly = new Reassembly();
  readonly #outbox: Outbox;
  readonly #drafts = new Drafts();
  readonly #message = emptyMessage();
  #defaultRoute: Peer | undefined;
  #nextMailbox = 1;
  #holds = 0;

  constructor(address: Address, codec: Codec, clock: Clock = systemClock) {
    this.address = address;
    this.codec = codec;
    this.#clock = clock;
    this.#requests = new Requests(clock);
    this.#outbox = new Outbox(
      ({ to, type, mailbox, correlation }, flags, part, isBulk) =>
        this.#write(to, type, flags, mailbox, correlation, part, isBulk),
      (to) => this.onDrained(to),
    );
  }

  /** Takes a link this process dialed to the process `address`; with `isDefault` also for all it has no link to. */
  join(link: Link, address: Address, isDefault = false): void {
    const peer = this.#addPeer(new Peer({ address, link, speaksFor: isDefault ? "all" : this.#scopeOf(address) }));
    if (isDefault) this.#defaultRoute = peer;
    this.#listen(peer, peer.lane);
    const hello: Hello = { protocol: PROTOCOL_VERSION };
    // Over this very link: there may be another to the same process, that it dialed.
    const header = this.#drafts.get(0);
    writeHeader(header.view, MessageType.hello, 0, address, this.address, 0, 0);
    peer.lane.send(header.bytes, this.codec.encode(hello));
  }

  /** Takes a link that somebody else dialed; they must say hello within 5 s. Calls `joined` when they did. */
  accept(link: Link, joined: (peer: Address) => void = () => {}): void {
    let peer: Peer | undefined;
    let refused = false;
    this.#links.add(link);
    const timer = this.#clock.after(HELLO_TIMEOUT_MS, () => {
      const error = new MeshError("TIMEOUT", `${link.label}: no hello within ${HELLO_TIMEOUT_MS} ms`);
      if (!refused) this.onRefused(error);
      link.destroy(error);
    });
    const greet = (frame: Uint8Array) => {
      if (refused) return;
      peer = this.#readHello(frame, link);
      refused = !peer;
      if (!peer) return; // the timer goes on: it ends who does not take the refusal
      timer.cancel();
      joined(peer.address);
    };
    link.attach({
      frame: (frame) => (peer ? this.#receive(peer, peer.lane, frame) : greet(frame)),
      span: (bytes, start, end) =>
        peer ? this.#receive(peer, peer.lane, bytes, start, end) : greet(bytes.subarray(start, end)),
      drained: () => peer && this.#drained(peer, peer.lane),
      closed: (error) => {
        timer.cancel();
        this.#links.delete(link);
        if (peer) this.#lost(peer, error);
      },
    });
  }

  /**
   * Takes a session to another node: what is for its processes goes there. Its role decides what it may send
   * (`permits`), and it speaks for its own processes alone.
   */
  addNode({ node, role, link, bulk }: NodeRoute): void {
    const peer = new Peer({ address: { node, slot: 0 }, link, role, speaksFor: "its node", ...(bulk && { bulk }) });
    this.#addPeer(peer);
    this.#listen(peer, peer.lane);
    if (bulk) this.#listenBulk(peer, peer.bulk);
  }

  /** Calls `handler` for messages of `type` to this process itself. */
  handle(type: number, handler: MessageHandler): void {
    this.#handlers[type] = handler;
  }

  /** Answers requests of `type` with what `handler` returns, or with the error it throws. */
  handleRequest(type: number, handler: RequestHandler): void {
    this.handle(type, (message) => {
      const from = { node: message.fromNode, slot: message.fromSlot };
      const { correlation, flags } = message;
      const answered = flags & FLAG_REQUEST ? correlation : 0;
      const body = this.codec.decode(message.payload) as never;
      void this.#answer(from, answered, () => handler(body, from));
    });
  }

  /** Opens an object of this process that others can write to; returns its number. */
  openMailbox(handler: MessageHandler): number {
    const id = this.#nextMailbox++;
    this.#mailboxes.set(id, handler);
    return id;
  }

  closeMailbox(id: number): void {
    this.#mailboxes.delete(id);
  }

  /**
   * Sends bytes. False asks to wait for `onDrained`; the message was taken all the same. The payload must not change
   * afterwards. A message to a process that is gone is dropped: who must know asks with `request`.
   */
  send(to: Address, type: number, mailbox: number, correlation: number, payload: Uint8Array = NOTHING): boolean {
    return this.#sendFlagged(to, type, 0, mailbox, correlation, payload);
  }

  /**
   * A buffer for a small message: fill `payloadBytes` (at most DRAFT_LIMIT_BYTES) from HEADER_BYTES on and hand it to
   * `sendDraft` before the next draft. Spares the views and copies that cost more than a small message itself.
   */
  draft(payloadBytes: number): Draft {
    return this.#drafts.get(payloadBytes);
  }

  /** As `send`, for a draft. */
  sendDraft(to: Address, type: number, mailbox: number, correlation: number, draft: Draft): boolean {
    if (this.#outbox.takes(to, 0)) {
      return this.send(to, type, mailbox, correlation, draft.bytes.slice(HEADER_BYTES));
    }
    const peer = this.#peerFor(to);
    if (!peer) return true;
    writeHeader(draft.view, type, 0, to, this.address, mailbox, correlation);
    return this.#told(peer, to, peer.lane.send(draft.bytes, NOTHING));
  }

  /** Sends a value, without an answer. */
  notify(to: Address, type: number, body: unknown, mailbox = 0): boolean {
    return this.send(to, type, mailbox, 0, this.codec.encode(body));
  }

  /** Sends a value and waits for the answer. Rejects with the other side's error, LINK_CLOSED, TIMEOUT or CANCELLED. */
  async request(to: Address, type: number, body: unknown, options: RequestOptions = {}): Promise<unknown> {
    const what = messageTypeName(type);
    if (options.signal?.aborted) throw cancelled(what, options.signal);
    const payload = this.codec.encode(body);
    if (!this.#peerFor(to)) {
      throw new MeshError("LINK_CLOSED", `cannot ask ${to.node}/${to.slot} for ${what}: there is no link to it`);
    }
    const { keepsProcess = true } = options;
    if (keepsProcess) this.hold();
    try {
      return await this.#requests.ask(to, what, options, (correlation) => {
        this.#sendFlagged(to, type, FLAG_REQUEST, 0, correlation, payload);
      });
    } finally {
      if (keepsProcess) this.release();
    }
  }

  /** Keeps the process from ending while something is under way; each hold needs one release. */
  hold(): void {
    if (this.#holds++ === 0) this.#setRef(true);
  }

  release(): void {
    if (--this.#holds === 0) this.#setRef(false);
  }

  /** Whether there is a direct link to `address`. */
  hasPeer(address: Address): boolean {
    const peer = this.#firstTo(address);
    return peer !== undefined && isSame(peer.address, address);
  }

  /**
   * A process that only others are linked to is gone: what waits for its answers fails, what waits for it to take
   * something is dropped.
   */
  processGone(address: Address, cause?: Error): void {
    const isGone = (to: Address) => isSame(to, address);
    this.#reassembly.forget(address.node, address.slot);
    this.#outbox.dropAll(isGone);
    this.#requests.fail(isGone, cause);
  }

  /** As `processGone`, for all processes of another node. */
  nodeGone(node: number, cause?: Error): void {
    const isGone = (to: Address) => to.node === node;
    this.#reassembly.forgetNode(node);
    this.#outbox.dropAll(isGone);
    this.#requests.fail(isGone, cause);
  }

  /** Ends the links to one peer. */
  drop(address: Address): void {
    this.#firstTo(address)?.lane.link.close();
    for (const peer of this.#furtherOf(address)) peer.lane.link.close();
  }

  /** Ends all links after sending what was taken. */
  close(): void {
    for (const link of this.#links) link.close();
  }

  #setRef(keepsProcess: boolean): void {
    for (const link of this.#links) link.setRef(keepsProcess);
  }

  #listen(peer: Peer, lane: Lane): void {
    lane.link.attach({
      frame: (frame) => this.#receive(peer, lane, frame),
      span: (bytes, start, end) => this.#receive(peer, lane, bytes, start, end),
      drained: () => this.#drained(peer, lane),
      closed: (error) => this.#lost(peer, error),
    });
  }

  #listenBulk(peer: Peer, lane: Lane): void {
    lane.link.attach({
      frame: (frame) => this.#receive(peer, lane, frame),
      span: (bytes, start, end) => this.#receive(peer, lane, bytes, start, end),
      drained: () => this.#drained(peer, lane),
      closed: () => {}, // the first one's end tells
    });
  }

  #addPeer(peer: Peer): Peer {
    const { address } = peer;
    if (this.#firstTo(address)) this.#further.add(peer);
    else this.#setFirst(address, peer);
    const { link } = peer.lane;
    this.#links.add(link);
    link.setRef(this.#holds > 0);
    return peer;
  }

  /** A process of another node that is linked directly stands for all of that node. */
  #scopeOf({ node }: Address): "itself" | "its node" {
    return node === this.address.node ? "itself" : "its node";
  }

  #firstTo({ node, slot }: Address): Peer | undefined {
    return node === this.address.node ? this.#slots.get(slot) : this.#nodes.get(node);
  }

  #setFirst({ node, slot }: Address, peer: Peer | undefined): void {
    const [map, key] = node === this.address.node ? [this.#slots, slot] : [this.#nodes, node];
    if (peer) map.set(key, peer);
    else map.delete(key);
  }

  #furtherOf(address: Address): Peer[] {
    return [...this.#further].filter((peer) => isSame(peer.address, address));
  }

  #readHello(frame: Uint8Array, link: Link): Peer | undefined {
    const message = emptyMessage();
    try {
      if (frame.length > HELLO_LIMIT_BYTES) throw new MeshError("PROTOCOL", `its hello has ${frame.length} bytes`);
      readMessage(frame, message);
      if (message.type !== MessageType.hello) throw new MeshError("PROTOCOL", "its first message is no hello");
      const { protocol } = this.codec.decodeControl(message.payload) as Hello;
      if (protocol !== PROTOCOL_VERSION) {
        throw new MeshError("PROTOCOL", `it speaks protocol ${protocol}, this build ${PROTOCOL_VERSION}`);
      }
      const address = { node: message.fromNode, slot: message.fromSlot };
      if (isSame(address, this.address)) throw new MeshError("PROTOCOL", "it has this process's own address");
      return this.#addPeer(new Peer({ address, link, speaksFor: this.#scopeOf(address) }));
    } catch (error) {
      this.#refuse(link, message, error as Error);
      return undefined;
    }
  }

  /** Tells who dialed why it is sent away, and ends the link. */
  #refuse(link: Link, { fromNode, fromSlot }: Message, cause: Error): void {
    const body: Refused = { reason: cause.message };
    const to = { node: fromNode, slot: fromSlot };
    const header = this.#drafts.get(0);
    writeHeader(header.view, MessageType.refused, 0, to, this.address, 0, 0);
    link.send(header.bytes, this.codec.encode(body));
    link.close();
    this.onRefused(new MeshError("PROTOCOL", `${link.label}: ${cause.message}`, { cause }));
  }

  #refused(message: Message, { link }: Lane): void {
    const body = this.codec.decodeControl(message.payload) as Partial<Refused> | null | undefined;
    const reason = typeof body?.reason === "string" ? body.reason : "it does not say why";
    link.destroy(new MeshError("PROTOCOL", `${link.label}: the other side refused this process: ${reason}`));
  }

  #peerFor(to: Address): Peer | undefined {
    if (to.node === this.address.node) return this.#slots.get(to.slot) ?? this.#defaultRoute;
    const known = this.#nodes.get(to.node) ?? this.#defaultRoute;
    if (known) return known;
    this.onNoRoute(to.node);
    return this.#nodes.get(to.node);
  }

  #sendFlagged(
    to: Address,
    type: number,
    flags: number,
    mailbox: number,
    correlation: number,
    payload: Uint8Array,
  ): boolean {
    if (!this.#outbox.takes(to, payload.length)) return this.#write(to, type, flags, mailbox, correlation, payload);
    if (!this.#peerFor(to)) return true;
    this.#outbox.add({ to, type, flags, mailbox, correlation, payload });
    return !this.#outbox.takes(to, 0);
  }

  #write(
    to: Address,
    type: number,
    flags: number,
    mailbox: number,
    correlation: number,
    payload: Uint8Array,
    isBulk = false,
  ): boolean {
    const peer = this.#peerFor(to);
    if (!peer) return true;
    const lane = isBulk ? peer.bulk : peer.lane;
    const header = this.#drafts.get(0);
    writeHeader(header.view, type, flags, to, this.address, mailbox, correlation);
    return this.#told(peer, to, lane.send(header.bytes, payload));
  }

  #told(peer: Peer, to: Address, hasRoom: boolean): boolean {
    if (!hasRoom) peer.tell(to);
    return hasRoom;
  }

  async #answer(to: Address, correlation: number, compute: () => unknown): Promise<void> {
    try {
      const value = await compute();
      if (correlation) this.#reply(to, MessageType.reply, correlation, this.codec.encode(value, "the answer"));
    } catch (error) {
      if (correlation) this.#reply(to, MessageType.failure, correlation, this.#encodeError(error));
      else this.onProblem(error);
    }
  }

  #reply(to: Address, type: number, correlation: number, payload: Uint8Array): void {
    this.send(to, type, 0, correlation, payload);
  }

  /** Bytes of an error, or of one about it when it cannot travel: who asked must hear something. */
  #encodeError(error: unknown): Uint8Array {
    try {
      return this.codec.encode(error, "what was thrown");
    } catch (cause) {
      return this.codec.encode(new MeshError("CANNOT_TRAVEL", (cause as Error).message));
    }
  }

  #receive(from: Peer, lane: Lane, bytes: Uint8Array, start = 0, end = bytes.length): void {
    const message = this.#message;
    try {
      readMessage(bytes, message, start, end);
      if (!from.maySpeakFor(message.fromNode, message.fromSlot)) throw foreign(message);
    } catch (error) {
      lane.link.destroy(error as Error);
      return;
    }
    if (from.role !== undefined && !this.permits(from.role, message.type)) {
      this.#fail(message, from, "AUTHENTICATION", `a ${from.role} may not send ${messageTypeName(message.type)} here`);
    } else if (message.toNode !== this.address.node || message.toSlot !== this.address.slot) {
      this.#forward(message, from, lane);
    } else {
      this.#take(message, lane);
    }
  }

  #take(message: Message, lane: Lane): void {
    try {
      if (message.type === MessageType.refused) this.#refused(message, lane);
      else if (message.type === MessageType.grant) this.#outbox.granted(sourceOf(message), message.correlation);
      else if (this.#reassembly.add(message)) this.#dispatch(message);
      else if (message.flags & FLAG_MORE) this.#grant(message, 1);
    } catch (error) {
      this.#handlerFailed(message, error);
    }
  }

  /** Tells the source of a piece that it was taken, or with 0 that nobody will ever take more. */
  #grant(message: Message, count: number): void {
    const to = sourceOf(message);
    const peer = this.#peerFor(to);
    if (!peer) return;
    const header = this.#drafts.get(0);
    const from = { node: message.toNode, slot: message.toSlot };
    writeHeader(header.view, MessageType.grant, 0, to, from, 0, count);
    peer.lane.send(header.bytes, NOTHING);
  }

  #dispatch(message: Message): void {
    if (message.mailbox !== 0) this.#mailboxes.get(message.mailbox)?.(message);
    else if (message.type === MessageType.reply || message.type === MessageType.failure) this.#settle(message);
    else {
      const handler = this.#handlers[message.type];
      if (!handler) throw new MeshError("PROTOCOL", `this process takes no ${messageTypeName(message.type)}`);
      handler(message);
    }
  }

  #settle(message: Message): void {
    const pending = this.#requests.take(message.correlation);
    if (!pending) return;
    try {
      const value = this.codec.decode(message.payload);
      if (message.type === MessageType.reply) pending.resolve(value);
      else pending.reject(value);
    } catch (error) {
      pending.reject(error);
    }
  }

  #handlerFailed(message: Message, error: unknown): void {
    if (message.flags & FLAG_REQUEST) {
      this.#reply(sourceOf(message), MessageType.failure, message.correlation, this.#encodeError(error));
    } else {
      this.onProblem(error);
    }
  }

  #forward(message: Message, from: Peer, source: Lane): void {
    const to = { node: message.toNode, slot: message.toSlot };
    const peer = this.#peerFor(to);
    if (peer && peer !== from) {
      const lane = message.flags & FLAG_MORE ? peer.bulk : peer.lane;
      if (!lane.forward(message.bytes, message.start, message.end)) peer.hold(lane, source.link);
      return;
    }
    if (message.flags & FLAG_MORE) this.#grant(message, 0);
    else this.#fail(message, from, "UNREACHABLE", `there is no way to process ${to.node}/${to.slot}`);
  }

  /** Answers a request that goes no further; what is no request is dropped. */
  #fail(message: Message, from: Peer, code: "UNREACHABLE" | "AUTHENTICATION", words: string): void {
    if (!(message.flags & FLAG_REQUEST)) {
      if (code === "AUTHENTICATION") this.onProblem(new MeshError(code, words));
      return;
    }
    const header = this.#drafts.get(0);
    const payload = this.codec.encode(new MeshError(code, words));
    writeHeader(header.view, MessageType.failure, 0, sourceOf(message), this.address, 0, message.correlation);
    from.lane.send(header.bytes, payload);
  }

  #drained(peer: Peer, lane: Lane): void {
    if (!lane.drained()) return;
    for (const to of peer.release()) this.onDrained(to);
  }

  #lost(peer: Peer, error?: Error): void {
    this.#links.delete(peer.lane.link);
    this.#further.delete(peer);
    const [next, ...others] = this.#furtherOf(peer.address);
    const first = this.#firstTo(peer.address);
    if (first !== peer || next) {
      // What was written may be lost, so the peer is too; what it still has to say arrives before that is told.
      if (first === peer && next) {
        this.#setFirst(peer.address, next);
        this.#further.delete(next);
      }
      if (this.#defaultRoute === peer) this.#defaultRoute = next;
      for (const { lane } of [first, next, ...others].filter((other) => other !== undefined)) lane.link.close();
      return;
    }
    this.#setFirst(peer.address, undefined);
    if (this.#defaultRoute === peer) this.#defaultRoute = undefined;
    peer.release();
    if (peer.address.node !== this.address.node) this.nodeGone(peer.address.node, error);
    else this.processGone(peer.address, error);
    this.#failUnreachable(error);
    this.onPeerLost(peer.address, error);
  }

  /** Fails questions to processes that no way leads to any longer. */
  #failUnreachable(error?: Error): void {
    const hasWay = ({ node, slot }: Address) =>
      this.#defaultRoute || (node === this.address.node ? this.#slots.has(slot) : this.#nodes.has(node));
    this.#requests.fail((to) => !hasWay(to), error);
    this.#outbox.dropAll((to) => !hasWay(to));
  }
}

function sourceOf({ fromNode, fromSlot }: Message): Address {
  return { node: fromNode, slot: fromSlot };
}

function foreign({ fromNode, fromSlot }: Message): MeshError {
  return new MeshError("PROTOCOL", `a peer sent a message in the name of process ${fromNode}/${fromSlot}`);
}
