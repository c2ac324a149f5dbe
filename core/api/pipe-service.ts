// The pipes of one process: those it made, and its ends of those that others made. Ties them to messages.
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import { type Address, HEADER_BYTES, type Message } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import {
  type Credit,
  type HomeReceiver,
  type HomeSender,
  MESSAGE_COST_BYTES,
  PipeHome,
  type PipeLimits,
  type Withdrawn,
} from "./pipe-home.ts";
import { LocalReceiverLink, LocalSenderLink } from "./pipe-local.ts";
import { PipeReceiver } from "./pipe-receiver.ts";
import { type PipePlace, RemoteReceiverLink, RemoteSenderLink, UNKNOWN_PIPE } from "./pipe-remote.ts";
import { PipeSender } from "./pipe-sender.ts";
import {
  decodeCredit,
  decodePull,
  encodeCredit,
  type FlushBody,
  keptFrom,
  type ReceiverBody,
  type ReturnBody,
  type RoomBody,
  readSend,
  type StayBody,
  type WithdrawBody,
} from "./pipe-wire.ts";

/** A pipe that was made here, and the ends of other processes it knows. */
interface Made {
  home: PipeHome;
  senders: Map<string, HomeSender>;
  /** The sender looked up last: nearly always the next one too. */
  latest: { sender: HomeSender; number: number; node: number; slot: number } | undefined;
  receivers: Map<string, HomeReceiver>;
}

export class PipeService {
  readonly #node: Node;
  readonly #clock: Clock;
  readonly #name: string;
  readonly #made = new Map<number, Made>();
  /** Ends here, by pipe. */
  readonly #senders = new Map<string, PipeSender>();
  readonly #receivers = new Map<string, PipeReceiver>();
  /** The same of other processes' pipes, by the numbers their homes know them under. */
  readonly #numbered = new Map<number, { sender: PipeSender; key: string }>();
  readonly #stays = new Map<number, () => void>();
  #nextPipe = 1;
  #nextSender = 1;

  /** `name` is how people know this process: "here/0", "gpu1/2". */
  constructor(node: Node, name: string, clock: Clock) {
    this.#node = node;
    this.#name = name;
    this.#clock = clock;
    node.handle(MessageType.pipeSend, (message) => this.#pushed(message));
    node.handle(MessageType.pipeCredit, (message) => this.#credited(message));
    node.handle(MessageType.pipePull, (message) => this.#pulled(message));
    node.handleRequest(MessageType.pipeRoom, (body: RoomBody, from) => this.#room(body, from));
    node.handleRequest(MessageType.pipeFlush, (body: FlushBody, from) => this.#flush(body, from));
    node.handleRequest(MessageType.pipeWatch, (body: ReceiverBody, from) => this.#watch(body, from));
    node.handleRequest(MessageType.pipeWithdraw, (body: WithdrawBody, from) => this.#withdraw(body, from));
    node.handleRequest(MessageType.pipeReturn, (body: ReturnBody, from) => this.#return(body, from));
    node.handleRequest(MessageType.pipeStay, ({ mailbox }: StayBody) => this.#stay(mailbox));
  }

  /** Makes a pipe in this process. */
  make(limits: PipeLimits): PipePlace {
    const pipe = this.#nextPipe++;
    const home = new PipeHome(limits, () => this.#made.delete(pipe));
    this.#made.set(pipe, { home, senders: new Map(), latest: undefined, receivers: new Map() });
    return { home: this.#node.address, pipe, homeName: this.#name };
  }

  /** What this process sends into a pipe; the same for all its funnels. */
  sender(place: PipePlace, highWaterBytes: number): PipeSender {
    const key = keyOf(place.home, place.pipe);
    const known = this.#senders.get(key);
    if (known) return known;
    const sender = this.#isHere(place)
      ? this.#localSender(place, highWaterBytes)
      : this.#remoteSender(place, highWaterBytes, key);
    if (!sender.isClosed) this.#senders.set(key, sender);
    return sender;
  }

  /** What this process receives from a pipe; the same for all its spouts. */
  receiver(place: PipePlace): PipeReceiver {
    const key = keyOf(place.home, place.pipe);
    const known = this.#receivers.get(key);
    if (known) return known;
    const receiver = this.#isHere(place) ? this.#localReceiver(place, key) : this.#remoteReceiver(place, key);
    this.#receivers.set(key, receiver);
    return receiver;
  }

  /** How many pipes and ends are kept; for tests of what is forgotten. */
  get counts(): { pipes: number; senders: number; receivers: number } {
    return { pipes: this.#made.size, senders: this.#senders.size, receivers: this.#receivers.size };
  }

  #isHere({ home }: PipePlace): boolean {
    return home.node === this.#node.address.node && home.slot === this.#node.address.slot;
  }

  #localSender({ pipe, homeName }: PipePlace, highWaterBytes: number): PipeSender {
    const key = keyOf(this.#node.address, pipe);
    const home = this.#homeOf(pipe);
    const tell = (credit: Credit) => {
      if (credit.closedBy) this.#senders.delete(key);
      sender.credited(credit);
    };
    const link = new LocalSenderLink(homeName, this.#node, this.#clock, home, home.addSender(tell));
    const sender = new PipeSender(link, highWaterBytes, this.#clock);
    if (home.closedBy) sender.credited({ takenBytes: 0, came: 0, closedBy: home.closedBy });
    return sender;
  }

  #remoteSender(place: PipePlace, highWaterBytes: number, key: string): PipeSender {
    const number = this.#nextSender++;
    const sender = new PipeSender(new RemoteSenderLink(this.#node, place, number), highWaterBytes, this.#clock);
    this.#numbered.set(number, { sender, key });
    return sender;
  }

  #localReceiver({ pipe, homeName }: PipePlace, key: string): PipeReceiver {
    const home = this.#homeOf(pipe);
    const record = home.addReceiver((number, bytes) => receiver.arrived(number, bytes));
    const left = () => this.#receivers.delete(key);
    const receiver = new PipeReceiver(new LocalReceiverLink(homeName, this.#node, home, record, left), this.#clock);
    return receiver;
  }

  #remoteReceiver(place: PipePlace, key: string): PipeReceiver {
    const mailbox = this.#node.openMailbox((message) =>
      receiver.arrived(message.correlation, keptFrom(message, message.start + HEADER_BYTES)),
    );
    const left = () => {
      this.#receivers.delete(key);
      this.#node.closeMailbox(mailbox);
      this.#stays.get(mailbox)?.();
      this.#stays.delete(mailbox);
    };
    this.#stays.set(mailbox, () => {});
    const receiver = new PipeReceiver(new RemoteReceiverLink(this.#node, place, mailbox, left), this.#clock);
    return receiver;
  }

  /** A pipe of this process; one that is forgotten is an empty, closed one. */
  #homeOf(pipe: number): PipeHome {
    const made = this.#made.get(pipe);
    if (made) return made.home;
    const closed = new PipeHome({ highWaterBytes: 1, senders: 1, receivers: 1 });
    void closed.flush(
      closed.addSender(() => {}),
      0,
      true,
    );
    return closed;
  }

  // What other processes say to a pipe that was made here.

  #pushed(message: Message): void {
    const { fromNode: node, fromSlot: slot } = message;
    const start = message.start + HEADER_BYTES;
    const { pipe, sender: number, number: count, at } = readSend(message.bytes, start, message.end);
    const made = this.#made.get(pipe);
    if (!made) {
      this.#tell({ node, slot }, number, { takenBytes: 0, came: 0, closedBy: "senders" });
      return;
    }
    const cost = message.end - start + MESSAGE_COST_BYTES;
    made.home.push(this.#senderOf(made, number, node, slot), count, keptFrom(message, at), cost);
  }

  #pulled({ payload, fromNode, fromSlot }: Message): void {
    const { receiver, pull } = decodePull(this.#node.codec, payload);
    const made = this.#made.get(receiver.pipe);
    if (made) made.home.pull(this.#receiverOf(made, receiver, { node: fromNode, slot: fromSlot }), pull);
  }

  #room({ pipe, sender, knownBytes }: RoomBody, from: Address): Promise<number> {
    const made = this.#made.get(pipe);
    if (!made) throw closed();
    return made.home.room(this.#senderOf(made, sender, from.node, from.slot), knownBytes);
  }

  async #flush({ pipe, sender, count, closes }: FlushBody, from: Address): Promise<null> {
    const made = this.#made.get(pipe);
    if (!made) throw closed();
    await made.home.flush(this.#senderOf(made, sender, from.node, from.slot), count, closes);
    return null;
  }

  #watch(body: ReceiverBody, from: Address): Promise<number> | number {
    const made = this.#made.get(body.pipe);
    return made ? made.home.watch(this.#receiverOf(made, body, from)) : UNKNOWN_PIPE;
  }

  #withdraw(body: WithdrawBody, from: Address): Withdrawn {
    const made = this.#made.get(body.pipe);
    if (!made) return { sent: UNKNOWN_PIPE, over: true };
    return made.home.withdraw(this.#receiverOf(made, body, from), body.epoch);
  }

  #return(body: ReturnBody, from: Address): null {
    const made = this.#made.get(body.pipe);
    made?.home.giveBack(this.#receiverOf(made, body, from), body.values, body.closes);
    return null;
  }

  #senderOf(made: Made, number: number, node: number, slot: number): HomeSender {
    const { latest } = made;
    if (latest && latest.number === number && latest.slot === slot && latest.node === node) return latest.sender;
    const from = { node, slot };
    const key = keyOf(from, number);
    const sender = made.senders.get(key) ?? made.home.addSender((credit) => this.#tell(from, number, credit));
    made.senders.set(key, sender);
    made.latest = { sender, number, node, slot };
    return sender;
  }

  #receiverOf({ home, receivers }: Made, { mailbox }: ReceiverBody, from: Address): HomeReceiver {
    const key = keyOf(from, mailbox);
    const known = receivers.get(key);
    if (known) return known;
    const receiver = home.addReceiver((count, bytes) => {
      this.#node.send(from, MessageType.pipeValue, mailbox, count >>> 0, bytes);
    });
    receivers.set(key, receiver);
    const left = () => {
      receivers.delete(key);
      home.leave(receiver);
    };
    const body: StayBody = { mailbox };
    void this.#node.request(from, MessageType.pipeStay, body, { keepsProcess: false }).then(left, left);
    return receiver;
  }

  #tell(to: Address, sender: number, credit: Credit): void {
    this.#node.send(to, MessageType.pipeCredit, 0, 0, encodeCredit(this.#node.codec, sender, credit));
  }

  // What a pipe that another process made says to the ends here.

  #credited({ payload }: Message): void {
    const { sender: number, credit } = decodeCredit(this.#node.codec, payload);
    const known = this.#numbered.get(number);
    if (!known) return;
    if (credit.closedBy) {
      this.#numbered.delete(number);
      this.#senders.delete(known.key);
    }
    known.sender.credited(credit);
  }

  #stay(mailbox: number): Promise<null> | null {
    if (!this.#stays.has(mailbox)) return null;
    const { promise, resolve } = Promise.withResolvers<null>();
    this.#stays.set(mailbox, () => resolve(null));
    return promise;
  }
}

function keyOf({ node, slot }: Address, number: number): string {
  return `${node}/${slot}/${number}`;
}

function closed(): MeshError {
  return new MeshError("CLOSED", "the pipe was closed");
}
