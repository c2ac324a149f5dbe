// Nodes of one process, joined by memory links.
import type { ManualClock } from "../../core/clock.ts";
import { Node } from "../../core/node/node.ts";
import type { Link } from "../../core/transport.ts";
import { Codec } from "../../core/wire/codec.ts";
import { type Address, HEADER_BYTES, Message, readMessage, writeHeader } from "../../core/wire/message.ts";
import { MessageType, PROTOCOL_VERSION } from "../../core/wire/message-types.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";

export const A: Address = { node: 1, slot: 0 };
export const B: Address = { node: 2, slot: 0 };
export const C: Address = { node: 2, slot: 3 };

/** A message type that only tests use. */
export const TEST_TYPE = 200;

/** Lets everything that is under way between memory links happen. */
export async function settled(turns = 20): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((turn) => setImmediate(turn));
}

export function nodeAt(address: Address, clock?: ManualClock): Node {
  return clock ? new Node(address, new Codec(), clock) : new Node(address, new Codec());
}

/** Joins `dialer` to `acceptor`; resolves when both know each other. */
export async function connect(dialer: Node, acceptor: Node, isDefault = false): Promise<[Link, Link]> {
  const [near, far] = memoryPair();
  const joined = new Promise<void>((resolve) => acceptor.accept(far, () => resolve()));
  dialer.join(near, acceptor.address, isDefault);
  await joined;
  return [near, far];
}

export interface Framed {
  type: number;
  flags?: number;
  to?: Address;
  from?: Address;
  mailbox?: number;
  correlation?: number;
  payload?: Uint8Array;
}

export function frameOf({
  type,
  flags = 0,
  to = B,
  from = A,
  mailbox = 0,
  correlation = 0,
  payload,
}: Framed): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + (payload?.length ?? 0));
  writeHeader(new DataView(bytes.buffer), type, flags, to, from, mailbox, correlation);
  if (payload) bytes.set(payload, HEADER_BYTES);
  return bytes;
}

export function helloFrame(from: Address = A, to: Address = B, protocol: unknown = PROTOCOL_VERSION): Uint8Array {
  return frameOf({ type: MessageType.hello, from, to, payload: new Codec().encode({ protocol }) });
}

/** The far end of a link, driven by hand: what came, and how it ended. */
export class RawEnd {
  readonly link: Link;
  readonly frames: Uint8Array[] = [];
  ended: { error?: Error } | undefined;

  constructor(link: Link) {
    this.link = link;
    link.attach({
      frame: (frame) => void this.frames.push(frame.slice()),
      drained: () => {},
      closed: (error) => {
        if (this.ended) throw new Error("closed was told twice");
        this.ended = error ? { error } : {};
      },
    });
  }

  get messages(): Message[] {
    return this.frames.map((frame) => {
      const message = new Message();
      readMessage(frame, message);
      return message;
    });
  }
}
