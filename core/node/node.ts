// One process in the mesh: its address, its links to others, and who here gets which message.
// Forwards by header alone. Must not know transports, jobs or what payloads mean.
import { type Clock, systemClock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Link } from "../transport.ts";
import type { Codec } from "../wire/codec.ts";
import { type Address, emptyMessage, FLAG_REQUEST, type Message, readMessage, writeHeader } from "../wire/message.ts";
import { MessageType, messageTypeName, PROTOCOL_VERSION } from "../wire/message-types.ts";
import { type Draft, Drafts } from "./drafts.ts";
import { Lane } from "./lane.ts";
import { Reassembly } from "./reassembly.ts";

/** Gets messages of one type or mailbox. The message object is reused: take what must outlive the call. */
export type MessageHandler = (message: Message) => void;
/** Answers a request; what it returns or throws travels back. */
export type RequestHandler = (body: never, from: Address) => unknown;

export interface RequestOptions {
  /** Gives up after so many milliseconds with TIMEOUT. Default: no limit but the link's life. */
  timeoutMs?: number;
  /** Gives up with CANCELLED when aborted. */
  signal?: AbortSignal;
}

interface Pending {
  to: Address;
  what: string;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** The first message on a link. */
interface Hello {
  protocol: number;
}

/** The answer to a hello that is not accepted; the link ends after it. */
interface Refused {
  reason: string;
}

/** One link to a peer. Two processes that dial each other at the same moment have two. */
interface Peer {
  address: Address;
  lane: Lane;
}

const NOTHING = new Uint8Array(0);
const HELLO_TIMEOUT_MS = 5_000;
/** All that somebody who has not said hello gets to say. */
const HELLO_LIMIT_BYTES = 4 * 1024;

function cancelled(what: string, signal: AbortSignal | undefined): MeshError {
  return new MeshError("CANCELLED", `${what} was cancelled`, { cause: signal?.reason });
}

function keyOf(address: Address): number {
  return address.node * 0x10000 + address.slot;
}

export class Node {
  readonly address: Address;
  readonly codec: Codec;
  /** Called when the last link to a peer ended; `error` is missing when the other side ended it on purpose. */
  onPeerLost: (peer: Address, error?: Error) => void = () => {};
  /** Called when a peer, whose link was full, can take more. */
  onDrained: (peer: Address) => void = () => {};
  /** Called with what went wrong while a message was handled and nobody waits for an answer. */
  onProblem: (error: unknown) => void = () => {};
  /** Called when somebody dialed and was sent away, with the reason. */
  onRefused: (error: MeshError) => void = () => {};

  readonly #clock: Clock;
  /** The link on which each peer is written to: always the same while it lives, so that messages keep their order. */
  readonly #peers = new Map<number, Peer>();
  /** Further links to peers, that are only read. */
  readonly #further = new Set<Peer>();
  readonly #links = new Set<Link>();
  readonly #handlers: (MessageHandler | undefined)[] = [];
  readonly #mailboxes = new Map<number, MessageHandler>();
  readonly #pending = new Map<number, Pending>();
  readonly #reassembly = new Reassembly();
  readonly #drafts = new Drafts();
  readonly #message = emptyMessage();
  #defaultRoute: Peer | undefined;
  #nextCorrelation = 1;
  #nextMailbox = 1;
  #holds = 0;

  constructor(address: Address, codec: Codec, clock: Clock = systemClock) {
    this.address = address;
    this.codec = codec;
    this.#clock = clock;
  }

  /** Takes a link this process dialed to the process `address`; with `isDefault` also for all it has no link to. */
  join(link: Link, address: Address, isDefault = false): void {
    const peer = this.#addPeer(link, address);
    if (isDefault) this.#defaultRoute = peer;
    link.attach({
      frame: (frame) => this.#receive(peer, frame),
      span: (bytes, start, end) => this.#receive(peer, bytes, start, end),
      drained: () => this.#drained(peer),
      closed: (error) => this.#lost(peer, error),
    });
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
      frame: (frame) => (peer ? this.#receive(peer, frame) : greet(frame)),
      span: (bytes, start, end) => (peer ? this.#receive(peer, bytes, start, end) : greet(bytes.subarray(start, end))),
      drained: () => peer && this.#drained(peer),
      closed: (error) => {
        timer.cancel();
        this.#links.delete(link);
        if (peer) this.#lost(peer, error);
      },
    });
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
    const peer = this.#peerFor(to);
    if (!peer) return true;
    writeHeader(draft.view, type, 0, to, this.address, mailbox, correlation);
    return peer.lane.send(draft.bytes, NOTHING);
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
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const correlation = this.#nextCorrelation;
    this.#nextCorrelation = correlation === 0xffffffff ? 1 : correlation + 1;
    this.#pending.set(correlation, { to, what, resolve, reject });
    this.hold();
    this.#sendFlagged(to, type, FLAG_REQUEST, 0, correlation, payload);
    return this.#limited(promise, correlation, what, options);
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
    return this.#peers.has(keyOf(address));
  }

  /** Ends the links to one peer. */
  drop(address: Address): void {
    this.#peers.get(keyOf(address))?.lane.link.close();
    for (const peer of this.#furtherOf(address)) peer.lane.link.close();
  }

  /** Ends all links after sending what was taken. */
  close(): void {
    for (const link of this.#links) link.close();
  }

  #setRef(keepsProcess: boolean): void {
    for (const link of this.#links) link.setRef(keepsProcess);
  }

  #addPeer(link: Link, address: Address): Peer {
    const key = keyOf(address);
    const peer = { address, lane: new Lane(link) };
    if (this.#peers.has(key)) this.#further.add(peer);
    else this.#peers.set(key, peer);
    this.#links.add(link);
    link.setRef(this.#holds > 0);
    return peer;
  }

  #furtherOf(address: Address): Peer[] {
    return [...this.#further].filter((peer) => keyOf(peer.address) === keyOf(address));
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
      if (keyOf(address) === keyOf(this.address)) throw new MeshError("PROTOCOL", "it has this process's own address");
      return this.#addPeer(link, address);
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

  #refused(message: Message, from: Peer): void {
    const body = this.codec.decodeControl(message.payload) as Partial<Refused> | null | undefined;
    const reason = typeof body?.reason === "string" ? body.reason : "it does not say why";
    const { link } = from.lane;
    link.destroy(new MeshError("PROTOCOL", `${link.label}: the other side refused this process: ${reason}`));
  }

  #peerFor(to: Address): Peer | undefined {
    return this.#peers.get(keyOf(to)) ?? this.#defaultRoute;
  }

  #sendFlagged(
    to: Address,
    type: number,
    flags: number,
    mailbox: number,
    correlation: number,
    payload: Uint8Array,
  ): boolean {
    const peer = this.#peerFor(to);
    if (!peer) return true;
    const header = this.#drafts.get(0);
    writeHeader(header.view, type, flags, to, this.address, mailbox, correlation);
    return peer.lane.send(header.bytes, payload);
  }

  async #answer(to: Address, correlation: number, compute: () => unknown): Promise<void> {
    try {
      const value = await compute();
      if (correlation) this.send(to, MessageType.reply, 0, correlation, this.codec.encode(value, "the answer"));
    } catch (error) {
      if (correlation) this.send(to, MessageType.failure, 0, correlation, this.#encodeError(error));
      else this.onProblem(error);
    }
  }

  /** Bytes of an error, or of one about it when it cannot travel: who asked must hear something. */
  #encodeError(error: unknown): Uint8Array {
    try {
      return this.codec.encode(error, "what was thrown");
    } catch (cause) {
      return this.codec.encode(new MeshError("CANNOT_TRAVEL", (cause as Error).message));
    }
  }

  async #limited(
    promise: Promise<unknown>,
    correlation: number,
    what: string,
    { timeoutMs, signal }: RequestOptions,
  ): Promise<unknown> {
    const give = (error: MeshError) => this.#pending.get(correlation)?.reject(error);
    const late = () => give(new MeshError("TIMEOUT", `no answer to ${what} within ${timeoutMs} ms`));
    const timer = timeoutMs === undefined ? undefined : this.#clock.after(timeoutMs, late);
    const abort = () => give(cancelled(what, signal));
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await promise;
    } finally {
      timer?.cancel();
      signal?.removeEventListener("abort", abort);
      this.#pending.delete(correlation);
      this.release();
    }
  }

  #receive(from: Peer, bytes: Uint8Array, start = 0, end = bytes.length): void {
    const message = this.#message;
    try {
      readMessage(bytes, message, start, end);
    } catch (error) {
      from.lane.link.destroy(error as Error);
      return;
    }
    if (message.toNode !== this.address.node || message.toSlot !== this.address.slot) {
      this.#forward(message, from);
      return;
    }
    try {
      if (message.type === MessageType.refused) this.#refused(message, from);
      else if (this.#reassembly.add(message)) this.#dispatch(message);
    } catch (error) {
      this.#handlerFailed(message, error);
    }
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
    const pending = this.#pending.get(message.correlation);
    if (!pending) return;
    this.#pending.delete(message.correlation);
    try {
      const value = this.codec.decode(message.payload);
      if (message.type === MessageType.reply) pending.resolve(value);
      else pending.reject(value);
    } catch (error) {
      pending.reject(error);
    }
  }

  #handlerFailed(message: Message, error: unknown): void {
    const to = { node: message.fromNode, slot: message.fromSlot };
    if (message.flags & FLAG_REQUEST) {
      this.send(to, MessageType.failure, 0, message.correlation, this.#encodeError(error));
    } else {
      this.onProblem(error);
    }
  }

  #forward(message: Message, from: Peer): void {
    const to = { node: message.toNode, slot: message.toSlot };
    const peer = this.#peerFor(to);
    if (peer && peer !== from) {
      peer.lane.forward(message.frame);
      return;
    }
    if (!(message.flags & FLAG_REQUEST)) return;
    const error = new MeshError("UNREACHABLE", `there is no way to process ${to.node}/${to.slot}`);
    this.send(from.address, MessageType.failure, 0, message.correlation, this.codec.encode(error));
  }

  #drained(peer: Peer): void {
    if (peer.lane.drained()) this.onDrained(peer.address);
  }

  #lost(peer: Peer, error?: Error): void {
    const { node, slot } = peer.address;
    this.#links.delete(peer.lane.link);
    this.#further.delete(peer);
    const [next, ...others] = this.#furtherOf(peer.address);
    const first = this.#peers.get(keyOf(peer.address));
    if (first !== peer || next) {
      // What was written may be lost, so the peer is too; what it still has to say arrives before that is told.
      if (first === peer && next) {
        this.#peers.set(keyOf(peer.address), next);
        this.#further.delete(next);
      }
      if (this.#defaultRoute === peer) this.#defaultRoute = next;
      for (const { lane } of [first, next, ...others].filter((other) => other !== undefined)) lane.link.close();
      return;
    }
    this.#peers.delete(keyOf(peer.address));
    this.#reassembly.forget(node, slot);
    const viaDefault = this.#defaultRoute === peer;
    if (viaDefault) this.#defaultRoute = undefined;
    for (const pending of this.#pending.values()) {
      if (this.#peerFor(pending.to)) continue;
      const message = `process ${node}/${slot} is gone while it was asked for ${pending.what}`;
      pending.reject(new MeshError("LINK_CLOSED", message, error && { cause: error }));
    }
    this.onPeerLost(peer.address, error);
  }
}
