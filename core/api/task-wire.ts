// The bytes of the task protocol: how a slot is told of a function, given items for it, and answers. Pure.
//
// define   CBOR of Definition; once for each call of map, submit, … and each slot it uses.
// run      0             4        5                   8
//          +-------------+--------+-------------------+---------------+
//          | run (u32)   | form   | zero              | items         |
//          +-------------+--------+-------------------+---------------+
// result   0        1        2          4              8                  16
//          +--------+--------+----------+--------------+------------------+---------------+
//          | status | form   | zero     | count (u32)  | elapsed ms (f64) | values        |
//          +--------+--------+----------+--------------+------------------+---------------+
// cancel   CBOR of the run's number.
//
// The header's correlation is the chunk; a result has that of its run message.
import { MeshError } from "../errors.ts";
import type { Codec } from "../wire/codec.ts";
import type { FunctionDescription } from "../wire/travel.ts";

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
}

/** How a list of values lies in a message. */
export const Form = {
  /** Nothing: the function is called with its extra arguments alone. */
  none: 0,
  /** A CBOR array. */
  cbor: 1,
  /** Numbers, 8 bytes each, in this machine's byte order (little-endian, as on all that Bun runs on). */
  doubles: 2,
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
  /** By place in the chunk; undefined where it failed. Shorter than the chunk when a failure ended it. */
  values: unknown[];
  /** Place in the chunk and what was thrown. */
  errors: [number, unknown][];
}

const RUN_HEAD_BYTES = 8;
const RESULT_HEAD_BYTES = 16;
const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Tells whether all are numbers: such lists cross as plain doubles, which is some 50 times faster than CBOR. */
function allNumbers(values: readonly unknown[]): values is number[] {
  for (let i = 0; i < values.length; i++) if (typeof values[i] !== "number") return false;
  return littleEndian && values.length > 0;
}

/** Reserves `headBytes` before the values, so that the payload is built once. */
function packValues(values: readonly unknown[], headBytes: number, codec: Codec, what: string): [Uint8Array, number] {
  if (allNumbers(values)) {
    const doubles = new Float64Array(headBytes / 8 + values.length);
    doubles.set(values, headBytes / 8);
    return [new Uint8Array(doubles.buffer), Form.doubles];
  }
  const body = codec.encode(values, what);
  const payload = new Uint8Array(headBytes + body.length);
  payload.set(body, headBytes);
  return [payload, Form.cbor];
}

function unpackValues(form: number, bytes: Uint8Array, codec: Codec): ArrayLike<unknown> {
  switch (form) {
    case Form.none:
      return [];
    case Form.cbor:
      return codec.decode(bytes) as unknown[];
    case Form.doubles: {
      if (bytes.length === 8) return [new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true)];
      const copy = bytes.slice(); // doubles must lie at a multiple of 8
      return new Float64Array(copy.buffer, copy.byteOffset, copy.length >>> 3);
    }
    default:
      throw new MeshError("PROTOCOL", `a peer sent values in the unknown form ${form}`);
  }
}

export interface RunMessage {
  run: number;
  form: number;
  items: ArrayLike<unknown>;
}

/** A run message's payload; without items the function is called once with its extra arguments alone. */
export function packRun(run: number, items: readonly unknown[] | undefined, codec: Codec): Uint8Array {
  const [payload, form] = items
    ? packValues(items, RUN_HEAD_BYTES, codec, "items")
    : ([new Uint8Array(RUN_HEAD_BYTES), Form.none] as const);
  new DataView(payload.buffer).setUint32(0, run);
  payload[4] = form;
  return payload;
}

export function unpackRun(payload: Uint8Array, codec: Codec): RunMessage {
  if (payload.length < RUN_HEAD_BYTES) throw new MeshError("PROTOCOL", "a run message is too short");
  const run = new DataView(payload.buffer, payload.byteOffset).getUint32(0);
  const form = payload[4]!;
  return { run, form, items: unpackValues(form, payload.subarray(RUN_HEAD_BYTES), codec) };
}

export interface ResultMessage {
  status: number;
  elapsedMs: number;
  /** What came back: a list, or `Outcomes` when status is failed. */
  values: ArrayLike<unknown> | Outcomes;
}

function writeResultHead(payload: Uint8Array, status: number, form: number, count: number, elapsedMs: number): void {
  payload[0] = status;
  payload[1] = form;
  const view = new DataView(payload.buffer, payload.byteOffset);
  view.setUint32(4, count);
  view.setFloat64(8, elapsedMs);
}

/** Throws CANNOT_TRAVEL when a value cannot be sent. */
export function packDone(values: readonly unknown[], elapsedMs: number, codec: Codec): Uint8Array {
  const [payload, form] = packValues(values, RESULT_HEAD_BYTES, codec, "the result");
  writeResultHead(payload, Status.done, form, values.length, elapsedMs);
  return payload;
}

export function packFailed(outcomes: Outcomes, elapsedMs: number, codec: Codec): Uint8Array {
  const body = codec.encode(outcomes);
  const payload = new Uint8Array(RESULT_HEAD_BYTES + body.length);
  payload.set(body, RESULT_HEAD_BYTES);
  writeResultHead(payload, Status.failed, Form.cbor, outcomes.values.length, elapsedMs);
  return payload;
}

export function packDropped(): Uint8Array {
  const payload = new Uint8Array(RESULT_HEAD_BYTES);
  writeResultHead(payload, Status.dropped, Form.none, 0, 0);
  return payload;
}

export function unpackResult(payload: Uint8Array, codec: Codec): ResultMessage {
  if (payload.length < RESULT_HEAD_BYTES) throw new MeshError("PROTOCOL", "a result message is too short");
  const elapsedMs = new DataView(payload.buffer, payload.byteOffset).getFloat64(8);
  const status = payload[0]!;
  return { status, elapsedMs, values: unpackValues(payload[1]!, payload.subarray(RESULT_HEAD_BYTES), codec) };
}
