// The bytes of the task protocol: how a slot is told of a function, given items for it, and answers. Pure.
//
// define   CBOR of Definition; once for each call of map, submit, … and each slot it uses.
// run      0             4        5                   8
//          +-------------+--------+-------------------+---------------+
//          | run (u32)   | form   | turn (u24)        | items         |
//          +-------------+--------+-------------------+---------------+
// result   0        1        2                         8                       16
//          +--------+--------+-------------------------+-----------------------+---------------+
//          | status | form   | zero                    | elapsed ms (f64, LE)  | values        |
//          +--------+--------+-------------------------+-----------------------+---------------+
// cancel   CBOR of the run's number: it is over.
//
// A turn is higher than that of all chunks that the same process sent to a slot before, modulo 2^24.
//
// The header's correlation is the chunk; a result has that of its run message.
import { MeshError } from "../errors.ts";
import { DRAFT_LIMIT_BYTES, type Draft } from "../node/drafts.ts";
import type { Codec } from "../wire/codec.ts";
import { type Address, HEADER_BYTES, type Message } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { FunctionDescription } from "../wire/travel.ts";
import { copyNumbers, isInt } from "./numbers.ts";

/** What a slot must know before it can run items: the function and what is the same for all of them. */
export interface Definition {
  run: number;
  fn: FunctionDescription;
  /** Extra arguments after the item. */
  args: unknown[];
  /** The item is a list of arguments. */
  spread: boolean;
  /** Failures are collected, not an end. */
  settled: boolean;
  /** Nesting: 0 when a job's script called, one more than the task that called otherwise. */
  depth: number;
  /** Milliseconds one item may take; 0 is no limit. */
  timeoutMs: number;
  /** The slot is there for this call alone: what it returns stays there, and what it printed is out before it is over. */
  isProcess?: boolean;
}

/** How a list of values lies in a message. */
export const Form = {
  /** Nothing: the function is called with its extra arguments alone. */
  none: 0,
  /** A CBOR array. */
  cbor: 1,
  /** Numbers, 8 bytes each, little-endian. */
  doubles: 2,
  /** Whole numbers of 32 bits, 4 bytes each, little-endian. -0 is none of them. */
  ints: 3,
} as const;

export const Status = {
  /** All items are done. */
  done: 0,
  /** The values are `Outcomes`: something failed. */
  failed: 1,
  /** Cancelled before its end; no values. */
  dropped: 2,
} as const;

/** Values of a chunk in which something failed. */
export interface Outcomes {
  /**
   * By place in the chunk; undefined where it failed. Shorter than the chunk when a failure ended it; empty, with one
   * error, when the chunk could not be read.
   */
  values: unknown[];
  /** Place in the chunk and what was thrown. */
  errors: [number, unknown][];
}

const RUN_HEAD_BYTES = 8;
const RESULT_HEAD_BYTES = 16;
const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Where a message is written to; a Node. */
export interface Sender {
  readonly codec: Codec;
  draft(payloadBytes: number): Draft;
  sendDraft(to: Address, type: number, mailbox: number, correlation: number, draft: Draft): boolean;
  send(to: Address, type: number, mailbox: number, correlation: number, payload: Uint8Array): boolean;
}

/** The form for a short list. */
function formOf(values: ArrayLike<unknown>): number {
  if (!littleEndian || values.length === 0) return Form.cbor;
  let form: number = Form.ints;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (typeof value !== "number") return Form.cbor;
    if (!isInt(value)) form = Form.doubles;
  }
  return form;
}

/** The first bytes of a payload; `form` is put where it belongs. */
interface Head {
  type: number;
  bytes: number;
  write(view: DataView, offset: number, form: number): void;
}

// The two heads are objects that are used again: what they write is set before.
const runHead = {
  type: MessageType.run as number,
  bytes: RUN_HEAD_BYTES,
  run: 0,
  turn: 0,
  write(view: DataView, offset: number, form: number): void {
    view.setUint32(offset, this.run);
    view.setUint32(offset + 4, (form << 24) | this.turn);
  },
};

const resultHead = {
  type: MessageType.result as number,
  bytes: RESULT_HEAD_BYTES,
  status: 0,
  elapsedMs: 0,
  write(view: DataView, offset: number, form: number): void {
    view.setUint32(offset, (this.status << 24) | (form << 16));
    view.setUint32(offset + 4, 0);
    view.setFloat64(offset + 8, this.elapsedMs, true);
  },
};

/** Sends a head and a list of values, in the form that suits them. Returns its bytes, negative when the link is full. */
function sendValues(
  sender: Sender,
  to: Address,
  head: Head,
  chunk: number,
  values: ArrayLike<unknown>,
  what: string,
): number {
  if (littleEndian && head.bytes + 4 * values.length > DRAFT_LIMIT_BYTES / 2) {
    const packed = packNumbers(values, head.bytes, Form.ints) ?? packNumbers(values, head.bytes, Form.doubles);
    if (!packed) return sendBody(sender, to, head, chunk, sender.codec.encode(values, what));
    head.write(new DataView(packed.payload), 0, packed.form);
    return signed(packed.payload.byteLength, sender.send(to, head.type, 0, chunk, new Uint8Array(packed.payload)));
  }
  const form = formOf(values);
  if (form === Form.cbor) return sendBody(sender, to, head, chunk, sender.codec.encode(values, what));
  const numbers = values as ArrayLike<number>;
  const bytes = head.bytes + (form === Form.ints ? 4 : 8) * numbers.length;
  const draft = sender.draft(bytes);
  head.write(draft.view, HEADER_BYTES, form);
  writeNumbers(draft.view, HEADER_BYTES + head.bytes, form, numbers);
  return signed(bytes, sender.sendDraft(to, head.type, 0, chunk, draft));
}

/** A payload with the values behind room for a head; undefined when one of them does not fit the form. */
function packNumbers(values: ArrayLike<unknown>, headBytes: number, form: 2 | 3) {
  const width = form === Form.ints ? 4 : 8;
  const payload = new ArrayBuffer(headBytes + width * values.length);
  const target = form === Form.ints ? new Int32Array(payload) : new Float64Array(payload);
  return copyNumbers(values, target, headBytes / width) ? { payload, form } : undefined;
}

function writeNumbers(view: DataView, at: number, form: number, numbers: ArrayLike<number>): void {
  if (form === Form.ints) for (let i = 0; i < numbers.length; i++) view.setInt32(at + 4 * i, numbers[i]!, true);
  else for (let i = 0; i < numbers.length; i++) view.setFloat64(at + 8 * i, numbers[i]!, true);
}

function sendBody(sender: Sender, to: Address, head: Head, chunk: number, body: Uint8Array): number {
  const bytes = head.bytes + body.length;
  if (bytes > DRAFT_LIMIT_BYTES) {
    const payload = new Uint8Array(bytes);
    payload.set(body, head.bytes);
    head.write(new DataView(payload.buffer), 0, Form.cbor);
    return signed(bytes, sender.send(to, head.type, 0, chunk, payload));
  }
  const draft = sender.draft(bytes);
  head.write(draft.view, HEADER_BYTES, Form.cbor);
  draft.bytes.set(body, HEADER_BYTES + head.bytes);
  return signed(bytes, sender.sendDraft(to, head.type, 0, chunk, draft));
}

function sendHead(sender: Sender, to: Address, head: Head, chunk: number): number {
  const draft = sender.draft(head.bytes);
  head.write(draft.view, HEADER_BYTES, Form.none);
  return signed(head.bytes, sender.sendDraft(to, head.type, 0, chunk, draft));
}

function signed(bytes: number, hasRoom: boolean): number {
  return hasRoom ? bytes : -bytes;
}

// Eight bytes of a frame as a double, without a view of the frame.
const oneDouble = new Float64Array(1);
const itsBytes = new Uint8Array(oneDouble.buffer);

function doubleAt(bytes: Uint8Array, at: number): number {
  for (let i = 0; i < 8; i++) itsBytes[i] = bytes[at + i]!;
  return oneDouble[0]!;
}

function intAt(bytes: Uint8Array, at: number, isLittleEndian: boolean): number {
  const [a, b, c, d] = [bytes[at]!, bytes[at + 1]!, bytes[at + 2]!, bytes[at + 3]!];
  return isLittleEndian ? a | (b << 8) | (c << 16) | (d << 24) : (a << 24) | (b << 16) | (c << 8) | d;
}

/** The values of a message whose list lies in `bytes` from `at` to before `end`. */
function readValues(form: number, bytes: Uint8Array, at: number, end: number, codec: Codec): ArrayLike<unknown> {
  switch (form) {
    case Form.none:
      return [];
    case Form.cbor:
      return codec.decode(bytes.subarray(at, end)) as unknown[];
    case Form.doubles: {
      if (end === at + 8) return [doubleAt(bytes, at)];
      const copy = bytes.slice(at, end); // doubles must lie at a multiple of 8
      return new Float64Array(copy.buffer, copy.byteOffset, copy.length >>> 3);
    }
    case Form.ints: {
      if (end === at + 4) return [intAt(bytes, at, true)];
      const copy = bytes.slice(at, end);
      return new Int32Array(copy.buffer, copy.byteOffset, copy.length >>> 2);
    }
    default:
      throw new MeshError("PROTOCOL", `a peer sent values in the unknown form ${form}`);
  }
}

export interface RunMessage {
  run: number;
  turn: number;
  form: number;
  items: ArrayLike<unknown>;
}

/**
 * Sends a chunk; without items the function is called once with its extra arguments alone. Returns the bytes of its
 * payload, negative when the link asks to wait. Throws CANNOT_TRAVEL when an item cannot be sent; nothing was sent then.
 */
export function sendRun(
  sender: Sender,
  to: Address,
  chunk: number,
  run: number,
  turn: number,
  items: ArrayLike<unknown> | undefined,
): number {
  runHead.run = run;
  runHead.turn = turn;
  return items ? sendValues(sender, to, runHead, chunk, items, "items") : sendHead(sender, to, runHead, chunk);
}

/** Throws PROTOCOL when the message is no chunk. */
export function readRun({ bytes, start, end }: Message, codec: Codec): RunMessage {
  const at = start + HEADER_BYTES;
  if (end < at + RUN_HEAD_BYTES) throw new MeshError("PROTOCOL", "a run message is too short");
  const run = intAt(bytes, at, false) >>> 0;
  const form = bytes[at + 4]!;
  const turn = intAt(bytes, at + 4, false) & 0xffffff;
  return { run, form, turn, items: readValues(form, bytes, at + RUN_HEAD_BYTES, end, codec) };
}

export interface ResultMessage {
  status: number;
  elapsedMs: number;
  /** What came back: a list, or `Outcomes` when status is failed. */
  values: ArrayLike<unknown> | Outcomes;
}

function resultHeadOf(status: number, elapsedMs: number): Head {
  resultHead.status = status;
  resultHead.elapsedMs = elapsedMs;
  return resultHead;
}

/** Throws CANNOT_TRAVEL when a value cannot be sent; nothing was sent then. */
export function sendDone(
  sender: Sender,
  to: Address,
  chunk: number,
  values: ArrayLike<unknown>,
  elapsedMs: number,
): void {
  sendValues(sender, to, resultHeadOf(Status.done, elapsedMs), chunk, values, "the result");
}

export function sendFailed(sender: Sender, to: Address, chunk: number, outcomes: Outcomes, elapsedMs: number): void {
  const body = sender.codec.encode(outcomes);
  sendBody(sender, to, resultHeadOf(Status.failed, elapsedMs), chunk, body);
}

export function sendDropped(sender: Sender, to: Address, chunk: number): void {
  sendHead(sender, to, resultHeadOf(Status.dropped, 0), chunk);
}

/** Throws PROTOCOL when the message is no result. */
export function readResult({ bytes, start, end }: Message, codec: Codec): ResultMessage {
  const at = start + HEADER_BYTES;
  if (end < at + RESULT_HEAD_BYTES) throw new MeshError("PROTOCOL", "a result message is too short");
  const values = readValues(bytes[at + 1]!, bytes, at + RESULT_HEAD_BYTES, end, codec);
  return { status: bytes[at]!, elapsedMs: doubleAt(bytes, at + 8), values };
}
