// What a job printed, as bytes of a file. A record:
//
//    0                4                          12                14       15       16
//   +----------------+--------------------------+-----------------+--------+--------+--------+----------+
//   | length (u32)   | time, ms (f64)           | seat (u16)      | kind   | host's length   | host     | bytes
//   +----------------+--------------------------+-----------------+--------+--------+--------+----------+
//
// `length` counts what follows it; all numbers are big-endian. Kind 1 is stdout, 2 stderr. Kind 0 is a mark: its bytes are
// a f64 that says how many bytes of output the job had printed before it. Each file begins with one, and one follows
// what could not be written: a reader that has counted less knows how much is missing.
import type { LogRecord } from "./bodies.ts";

const HEAD_BYTES = 16;
const MARK = 0;
const STREAMS = ["", "stdout", "stderr"] as const;

/** Output in one record; longer ones are cut, at the end of a line where there is one. */
export const RECORD_LIMIT_BYTES = 64 * 1024;
/** No record in a file is longer. */
export const STORED_LIMIT_BYTES = HEAD_BYTES + 255 + RECORD_LIMIT_BYTES;

/** A record as it is read: output, or how much output came before. */
export type Stored = { record: LogRecord } | { printedBytes: number };

/** Where a record ends, and what it says; undefined when it is not whole in `bytes`. Throws when it is none. */
export function readRecord(bytes: Buffer, start: number): { stored: Stored; end: number } | undefined {
  if (bytes.length - start < HEAD_BYTES) return undefined;
  const length = bytes.readUInt32BE(start);
  if (length < HEAD_BYTES - 4 || length > STORED_LIMIT_BYTES - 4) throw new Error(`a record of ${length} bytes`);
  const end = start + 4 + length;
  if (end > bytes.length) return undefined;
  const kind = bytes[start + 14]!;
  const body = start + HEAD_BYTES + bytes[start + 15]!;
  if (kind >= STREAMS.length || body > end || (kind === MARK && end - body !== 8)) throw new Error("no record");
  if (kind === MARK) return { stored: { printedBytes: bytes.readDoubleBE(body) }, end };
  const record = {
    timeMs: bytes.readDoubleBE(start + 4),
    host: bytes.toString("utf8", start + HEAD_BYTES, body),
    seat: bytes.readUInt16BE(start + 12),
    stream: STREAMS[kind] as LogRecord["stream"],
    bytes: bytes.subarray(body, end),
  };
  return { stored: { record }, end };
}

/** Bytes of output, cut into records that are not too long. */
export function writeRecords(records: readonly LogRecord[]): Buffer {
  const parts = records.flatMap((record) =>
    cut(record.bytes).map((piece) => writeRecord({ ...record, bytes: piece }, STREAMS.indexOf(record.stream))),
  );
  return Buffer.concat(parts);
}

export function writeMark(printedBytes: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(printedBytes);
  return writeRecord({ timeMs: 0, host: "", seat: 0, bytes }, MARK);
}

function writeRecord({ timeMs, host, seat, bytes }: Omit<LogRecord, "stream">, kind: number): Buffer {
  const name = Buffer.from(host);
  const out = Buffer.allocUnsafe(HEAD_BYTES + name.length + bytes.length);
  out.writeUInt32BE(out.length - 4, 0);
  out.writeDoubleBE(timeMs, 4);
  out.writeUInt16BE(seat, 12);
  out[14] = kind;
  out[15] = name.length;
  name.copy(out, HEAD_BYTES);
  out.set(bytes, HEAD_BYTES + name.length);
  return out;
}

function cut(bytes: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let rest = bytes;
  while (rest.length > RECORD_LIMIT_BYTES) {
    const line = rest.subarray(0, RECORD_LIMIT_BYTES).lastIndexOf(10) + 1;
    const piece = rest.subarray(0, line || RECORD_LIMIT_BYTES);
    pieces.push(piece);
    rest = rest.subarray(piece.length);
  }
  if (rest.length > 0) pieces.push(rest);
  return pieces;
}
