// How processes of one node greet each other: who dialed says hello first, and is answered only when it is sent away.
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Link } from "../transport.ts";
import type { Codec } from "../wire/codec.ts";
import { type Address, emptyMessage, HEADER_BYTES, type Message, readMessage, writeHeader } from "../wire/message.ts";
import { MessageType, PROTOCOL_VERSION } from "../wire/message-types.ts";
import { isSame } from "./routes.ts";

interface Hello {
  protocol: number;
}

/** The answer to a hello that is not accepted; the link ends after it. */
interface Refused {
  reason: string;
}

const HELLO_TIMEOUT_MS = 5_000;
/** All that somebody who has not said hello gets to say. */
const HELLO_LIMIT_BYTES = 4 * 1024;

export interface HelloContext {
  own: Address;
  codec: Codec;
  clock: Clock;
  /** Hears of who was sent away. */
  refused(error: MeshError): void;
}

/** What the links of a process deliver to. */
export interface FrameTaker {
  span(bytes: Uint8Array, start: number, end: number): void;
  drained(): void;
  closed(error?: Error): void;
}

export function sayHello(link: Link, { own, codec }: HelloContext, to: Address): void {
  const hello: Hello = { protocol: PROTOCOL_VERSION };
  link.send(headerOf(MessageType.hello, to, own), codec.encode(hello));
}

/** Waits for the hello of who dialed, at most 5 s, and hands the link to what `greeted` returns for its address. */
export function awaitHello(
  link: Link,
  context: HelloContext,
  greeted: (peer: Address) => FrameTaker,
  closed: () => void,
): void {
  let taker: FrameTaker | undefined;
  let isRefused = false;
  const timer = context.clock.after(HELLO_TIMEOUT_MS, () => {
    const error = new MeshError("TIMEOUT", `${link.label}: no hello within ${HELLO_TIMEOUT_MS} ms`);
    if (!isRefused) context.refused(error);
    link.destroy(error);
  });
  const greet = (frame: Uint8Array) => {
    if (isRefused) return;
    const peer = readHello(frame, link, context);
    isRefused = !peer;
    if (!peer) return; // the timer goes on: it ends who does not take the refusal
    timer.cancel();
    taker = greeted(peer);
  };
  const span = (bytes: Uint8Array, start: number, end: number) =>
    taker ? taker.span(bytes, start, end) : greet(bytes.subarray(start, end));
  link.attach({
    frame: (frame) => span(frame, 0, frame.length),
    span,
    drained: () => taker?.drained(),
    closed: (error) => {
      timer.cancel();
      closed();
      taker?.closed(error);
    },
  });
}

/** The error a `refused` of the other side is. */
export function refusalOf(message: Message, link: Link, codec: Codec): MeshError {
  const body = codec.decodeControl(message.payload) as Partial<Refused> | null | undefined;
  const reason = typeof body?.reason === "string" ? body.reason : "it does not say why";
  return new MeshError("PROTOCOL", `${link.label}: the other side refused this process: ${reason}`);
}

function readHello(frame: Uint8Array, link: Link, context: HelloContext): Address | undefined {
  const message = emptyMessage();
  try {
    if (frame.length > HELLO_LIMIT_BYTES) throw new MeshError("PROTOCOL", `its hello has ${frame.length} bytes`);
    readMessage(frame, message);
    if (message.type !== MessageType.hello) throw new MeshError("PROTOCOL", "its first message is no hello");
    const { protocol } = context.codec.decodeControl(message.payload) as Hello;
    if (protocol !== PROTOCOL_VERSION) {
      throw new MeshError("PROTOCOL", `it speaks protocol ${protocol}, this build ${PROTOCOL_VERSION}`);
    }
    const address = { node: message.fromNode, slot: message.fromSlot };
    if (isSame(address, context.own)) throw new MeshError("PROTOCOL", "it has this process's own address");
    return address;
  } catch (error) {
    refuse(link, context, message, error as Error);
    return undefined;
  }
}

/** Tells who dialed why it is sent away, and ends the link. */
function refuse(
  link: Link,
  { own, codec, refused }: HelloContext,
  { fromNode, fromSlot }: Message,
  cause: Error,
): void {
  const body: Refused = { reason: cause.message };
  link.send(headerOf(MessageType.refused, { node: fromNode, slot: fromSlot }, own), codec.encode(body));
  link.close();
  refused(new MeshError("PROTOCOL", `${link.label}: ${cause.message}`, { cause }));
}

function headerOf(type: number, to: Address, from: Address): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  writeHeader(new DataView(header.buffer), type, 0, to, from, 0, 0);
  return header;
}
