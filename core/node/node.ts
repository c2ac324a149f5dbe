// One process in the mesh: its address, its links to others, and who here gets which message.
// Forwards by header alone. Must not know transports, jobs or what payloads mean.
import { type Clock, systemClock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Link } from "../transport.ts";
import type { Codec } from "../wire/codec.ts";
import {
  type Address,
  emptyMessage,
  FLAG_FIRST,
  FLAG_MORE,
  FLAG_REQUEST,
  HEADER_BYTES,
  type Message,
  readMessage,
  writeHeader,
} from "../wire/message.ts";
import { MessageType, messageTypeName } from "../wire/message-types.ts";
import { NO_LIMITS, type SizeLimits } from "../wire/size-limits.ts";
import { type Draft, Drafts } from "./drafts.ts";
import { awaitHello, type FrameTaker, type HelloContext, refusalOf, sayHello } from "./hello.ts";
import type { Lane } from "./lane.ts";
import { Outbox, type OutgoingMessage, type Part } from "./outbox.ts";
import { Peer, type PeerRole } from "./peer.ts";
import { Reassembly } from "./reassembly.ts";
import { cancelled, type RequestOptions, Requests } from "./requests.ts";
import { HeldLinks, isSame, Routes } from "./routes.ts";

export type { RequestOptions } from "./requests.ts";

/** Gets messages of one type or mailbox. The message object is reused: take what must outlive the call. */
export type MessageHandler = (message: Message) => void;
/** Answers a request; what it returns or throws travels back. */
export type RequestHandler = (body: never, from: Address) => unknown;

/** A session to another node. */
export interface NodeRoute {
  node: number;
  role: PeerRole;
  /** What people call it. */
  name?: string;
  /** Carries messages; lives as long as the session. */
  link: Link;
  /** A second one, for the pieces of large messages; gone with the first. */
  bulk?: Link;
}

const NOTHING = new Uint8Array(0);

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
  /** How large a message of this type may be that another node sends to this process. */
  sizeLimits: (type: number) => SizeLimits = () => NO_LIMITS;

  readonly #clock: Clock;
  readonly #routes: Routes;
  readonly #links = new HeldLinks();
  readonly #handlers: (MessageHandler | undefined)[] = [];
  readonly #mailboxes = new Map<number, MessageHandler>();
  readonly #requests: Requests;
  readonly #reassembly = new Reassembly();
  readonly #outbox: Outbox;
  readonly #drafts = new Drafts();
  readonly #message = emptyMessage();
  #nextMailbox = 1;

  constructor(address: Address, codec: Codec, clock: Clock = systemClock) {
    this.address = address;
    this.codec = codec;
    this.#clock = clock;
    this.#routes = new Routes(address.node, (node) => this.onNoRoute(node));
    this.#requests = new Requests(clock);
    this.#outbox = new Outbox(
      (message, part) => this.#writePart(message, part),
      (to) => this.onDrained(to),
    );
  }

  /** Takes a link this process dialed to the process `address`; with `isDefault` also for all it has no link to. */
  join(link: Link, address: Address, isDefault = false): void {
    const speaksFor = isDefault ? "all" : this.#routes.scopeOf(address);
    this.#listen(this.#addPeer(new Peer({ address, link, speaksFor }), isDefault));
    sayHello(link, this.#helloContext, address);
  }

  /** Takes a link that somebody else dialed; they must say hello within 5 s. Calls `joined` when they did. */
  accept(link: Link, joined: (peer: Address) => void = () => {}): void {
    const greeted = (address: Address) => {
      const peer = this.#addPeer(new Peer({ address, link, speaksFor: this.#routes.scopeOf(address) }));
      joined(address);
      return this.#takerFor(peer, peer.lane);
    };
    this.#links.add(link);
    awaitHello(link, this.#helloContext, greeted, () => this.#links.delete(link));
  }

  /**
   * Takes a session to another node: what is for its processes goes there. Its role decides what it may send
   * (`permits`), and it speaks for its own processes alone.
   */
  addNode({ node, ...route }: NodeRoute): void {
    const peer = new Peer({ ...route, address: { node, slot: 0 }, speaksFor: "its node" });
    this.#listen(this.#addPeer(peer));
    if (route.bulk) this.#listenBulk(peer);
  }

  /** The role of another node, from its certificate; undefined of those this process has no session with. */
  roleOf(node: number): PeerRole | undefined {
    return this.#routes.first({ node, slot: 0 })?.role;
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
    const peer = this.#routes.to(to);
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
    if (!this.#routes.to(to)) {
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
    this.#links.hold();
  }

  release(): void {
    this.#links.release();
  }

  /** Whether there is a direct link to `address`. */
  hasPeer(address: Address): boolean {
    const peer = this.#routes.first(address);
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

  /** Ends all links after sending what was taken. */
  close(): void {
    for (const link of this.#links) link.close();
  }

  get #helloContext(): HelloContext {
    const { address: own, codec } = this;
    return { own, codec, clock: this.#clock, refused: (error) => this.onRefused(error) };
  }

  #addPeer(peer: Peer, isDefault = false): Peer {
    this.#routes.add(peer, isDefault);
    this.#links.add(peer.lane.link);
    return peer;
  }

  #listen(peer: Peer): void {
    const taker = this.#takerFor(peer, peer.lane);
    peer.lane.link.attach({ ...taker, frame: (frame) => taker.span(frame, 0, frame.length) });
  }

  #listenBulk(peer: Peer): void {
    const taker = this.#takerFor(peer, peer.bulk);
    const closed = () => {}; // the end of the first one tells
    peer.bulk.link.attach({ ...taker, frame: (frame) => taker.span(frame, 0, frame.length), closed });
  }

  #takerFor(peer: Peer, lane: Lane): FrameTaker {
    return {
      span: (bytes, start, end) => this.#receive(peer, lane, bytes, start, end),
      drained: () => this.#drained(peer, lane),
      closed: (error) => this.#lost(peer, error),
    };
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
    if (!this.#routes.to(to)) return true;
    return this.#outbox.add({ to, type, flags, mailbox, correlation, payload });
  }

  #write(to: Address, type: number, flags: number, mailbox: number, correlation: number, payload: Uint8Array): boolean {
    const peer = this.#routes.to(to);
    if (!peer) return true;
    const header = this.#drafts.get(0);
    writeHeader(header.view, type, flags, to, this.address, mailbox, correlation);
    return this.#told(peer, to, peer.lane.send(header.bytes, payload));
  }

  #writePart({ to, type, mailbox }: OutgoingMessage, { flags, payload, correlation, transfer, isBulk }: Part): void {
    const peer = this.#routes.to(to);
    if (!peer) return;
    const header = this.#drafts.get(0);
    writeHeader(header.view, type, flags, to, this.address, mailbox, correlation, transfer);
    const lane = isBulk ? peer.bulk : peer.lane;
    lane.send(header.bytes, payload);
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

  #receive(from: Peer, lane: Lane, bytes: Uint8Array, start: number, end: number): void {
    const message = this.#message;
    try {
      readMessage(bytes, message, start, end);
      if (!from.maySpeakFor(message.fromNode, message.fromSlot)) throw foreign(message);
    } catch (error) {
      lane.link.destroy(error as Error);
      return;
    }
    if (from.role !== undefined && !this.permits(from.role, message.type)) {
      const what = messageTypeName(message.type);
      this.#fail(message, from, "AUTHENTICATION", `a ${from.role} may not send ${what} here (${from.name})`);
    } else if (message.toNode !== this.address.node || message.toSlot !== this.address.slot) {
      this.#forward(message, from, lane);
    } else {
      this.#take(message, from, lane);
    }
  }

  #take(message: Message, from: Peer, lane: Lane): void {
    try {
      if (message.type === MessageType.refused) lane.link.destroy(refusalOf(message, lane.link, this.codec));
      else if (message.type === MessageType.grant) this.#outbox.granted(sourceOf(message), message.correlation);
      else if (this.#reassembly.add(message, this.#limitsFor(message, from))) this.#dispatch(message);
      else this.#grantTaken(message);
    } catch (error) {
      this.#handlerFailed(message, error);
    }
  }

  #limitsFor({ flags, type }: Message, from: Peer): SizeLimits {
    return flags & FLAG_FIRST && from.role !== undefined ? this.sizeLimits(type) : NO_LIMITS;
  }

  #grantTaken(message: Message): void {
    const count = this.#reassembly.takenOf(message);
    if (count > 0) this.#grant(message, count);
  }

  /** Tells the source of pieces how many were taken, or with 0 that nobody will ever take more. */
  #grant(message: Message, count: number): void {
    const to = sourceOf(message);
    const peer = this.#routes.to(to);
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
    const peer = this.#routes.to(to);
    // Between other nodes this one does not stand: what came of one in another's name would end that one's session.
    const isBetweenOthers = from.role !== undefined && peer?.role !== undefined;
    if (peer && peer !== from && !isBetweenOthers) {
      const lane = message.flags & FLAG_MORE ? peer.bulk : peer.lane;
      if (!lane.forward(message.bytes, message.start, message.end)) peer.hold(lane, source.link);
      return;
    }
    if (message.flags & FLAG_MORE) this.#grant(message, 0);
    else this.#fail(message, from, "UNREACHABLE", `there is no way to process ${to.node}/${to.slot}`);
  }

  /** Answers a request that goes no further; what is no request is dropped. */
  #fail(message: Message, from: Peer, code: "UNREACHABLE" | "AUTHENTICATION", words: string): void {
    if (code === "AUTHENTICATION") this.onProblem(new MeshError(code, words));
    if (!(message.flags & FLAG_REQUEST)) return;
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
    peer.release();
    if (!this.#routes.remove(peer)) return;
    if (peer.address.node === this.address.node) this.processGone(peer.address, error);
    else this.nodeGone(peer.address.node, error);
    this.#requests.fail((to) => !this.#routes.has(to), error);
    this.#outbox.dropAll((to) => !this.#routes.has(to));
    this.onPeerLost(peer.address, error);
  }
}

function sourceOf({ fromNode, fromSlot }: Message): Address {
  return { node: fromNode, slot: fromSlot };
}

function foreign({ fromNode, fromSlot }: Message): MeshError {
  return new MeshError("PROTOCOL", `a peer sent a message in the name of process ${fromNode}/${fromSlot}`);
}
