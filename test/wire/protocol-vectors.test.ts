// The test vectors of PROTOCOL.md, read from the file: each is encoded and decoded.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  readResult,
  readRun,
  type Sender,
  sendDone,
  sendDropped,
  sendFailed,
  sendRun,
} from "../../core/api/task-wire.ts";
import { Drafts } from "../../core/node/drafts.ts";
import { encodeEchoAnswer, encodeEchoRequest, readEchoAnswer, readEchoRequest } from "../../core/rendezvous/echo.ts";
import { Codec } from "../../core/wire/codec.ts";
import { FRAME_HEAD_BYTES, FrameReader, writeFrameHead } from "../../core/wire/frame.ts";
import { HEADER_BYTES, Message, readMessage, writeHeader } from "../../core/wire/message.ts";
import { MessageType, PROTOCOL_VERSION } from "../../core/wire/message-types.ts";

const text = readFileSync(join(import.meta.dirname, "../../PROTOCOL.md"), "utf8");
const codec = new Codec();

/** The blocks of the section by the name of the heading above each. */
function vectorsOf(document: string): Map<string, string> {
  const section = /^## Test vectors$(.*?)^## /ms.exec(document)![1]!;
  const found = new Map<string, string>();
  for (const part of section.split(/^### /m).slice(1)) {
    const [, name, block] = /^(\S+)\n[^`]*(?:`[^`\n]+`[^`]*)*```hex\n([^`]*)```\n/.exec(part) ?? [];
    if (!name || block === undefined) throw new Error(`no vector in: ${part}`);
    if (found.has(name)) throw new Error(`the vector ${name} is there twice`);
    found.set(name, block.replace(/\s/g, ""));
  }
  return found;
}

const vectors = vectorsOf(text);

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function bytesOf(name: string): Uint8Array {
  const found = vectors.get(name);
  if (found === undefined) throw new Error(`PROTOCOL.md has no vector ${name}`);
  if (!/^([0-9a-f]{2})+$/.test(found)) throw new Error(`the vector ${name} is no hex`);
  return new Uint8Array(Buffer.from(found, "hex"));
}

/** So many bytes that count up. */
function bytesFrom(first: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => first + i);
}

type Check = (bytes: Uint8Array) => void;

function frames(...bodies: number[][]): Check {
  return (bytes) => {
    const written = bodies.map((body) => {
      const frame = new Uint8Array(FRAME_HEAD_BYTES + body.length);
      writeFrameHead(frame, 0, body.length);
      frame.set(body, FRAME_HEAD_BYTES);
      return frame;
    });
    expect(hex(Buffer.concat(written))).toBe(hex(bytes));
    const read: number[][] = [];
    new FrameReader().push(bytes, (frame) => void read.push([...frame]));
    expect(read).toEqual(bodies);
  };
}

interface Fields {
  type: number;
  flags?: number;
  to: [number, number];
  from: [number, number];
  mailbox?: number;
  correlation?: number;
  payload: Uint8Array;
}

function message({ type, flags = 0, to, from, mailbox = 0, correlation = 0, payload }: Fields): Check {
  return (bytes) => {
    const written = new Uint8Array(HEADER_BYTES + payload.length);
    const [toAddress, fromAddress] = [to, from].map(([node, slot]) => ({ node: node!, slot: slot! }));
    writeHeader(new DataView(written.buffer), type, flags, toAddress!, fromAddress!, mailbox, correlation);
    written.set(payload, HEADER_BYTES);
    expect(hex(written)).toBe(hex(bytes));
    const read = new Message();
    readMessage(bytes, read);
    expect(read).toMatchObject({ type, flags, toNode: to[0], toSlot: to[1], fromNode: from[0], fromSlot: from[1] });
    expect([read.mailbox, read.correlation, hex(read.payload)]).toEqual([mailbox, correlation, hex(payload)]);
  };
}

function value(make: () => unknown, look?: (decoded: never) => void): Check {
  return (bytes) => {
    expect(hex(codec.encode(make()))).toBe(hex(bytes));
    codec.decodeControl(bytes);
    if (look) look(codec.decode(bytes) as never);
    else expect(codec.decode(bytes)).toEqual(make());
  };
}

/** Keeps the payload of what is sent. */
class Sent implements Sender {
  readonly codec = codec;
  payload = new Uint8Array(0);
  readonly #drafts = new Drafts();
  draft(payloadBytes: number) {
    return this.#drafts.get(payloadBytes);
  }
  sendDraft(...[, , , , draft]: Parameters<Sender["sendDraft"]>): boolean {
    this.payload = new Uint8Array(draft.bytes.subarray(HEADER_BYTES));
    return true;
  }
  send(...[, , , , payload]: Parameters<Sender["send"]>): boolean {
    this.payload = new Uint8Array(payload);
    return true;
  }
}

const HERE = { node: 2, slot: 1 };

/** A message whose payload is `bytes`. */
function carrying(bytes: Uint8Array): Message {
  const carrier = new Message();
  carrier.frame = Buffer.concat([new Uint8Array(HEADER_BYTES), bytes]);
  return carrier;
}

function run(items: unknown[] | undefined, form: number): Check {
  return (bytes) => {
    const sent = new Sent();
    sendRun(sent, HERE, 1, 7, 9, items);
    expect(hex(sent.payload)).toBe(hex(bytes));
    const read = readRun(carrying(bytes), codec);
    expect([read.run, read.form, read.turn]).toEqual([7, form, 9]);
    expect(Array.from(read.items)).toEqual(items ?? []);
    for (const [i, item] of (items ?? []).entries()) expect(Object.is(read.items[i], item)).toBe(true);
  };
}

function result(
  send: (sender: Sender) => void,
  expected: { status: number; elapsedMs: number; values: unknown },
): Check {
  return (bytes) => {
    const sent = new Sent();
    send(sent);
    expect(hex(sent.payload)).toBe(hex(bytes));
    expect(readResult(carrying(bytes), codec)).toEqual(expected);
  };
}

const refused: Check = (bytes) => {
  expect(() => codec.decodeControl(bytes)).toThrow(expect.objectContaining({ code: "PROTOCOL" }));
};

function shared(): unknown[] {
  const object = { q: 1 };
  return [object, object];
}

function cycle(): unknown[] {
  const list: unknown[] = [];
  list.push(list);
  return list;
}

function rangeError(): RangeError {
  const error = new RangeError("no", { cause: 5 });
  error.stack = "RangeError: no";
  return error;
}

const checks: Record<string, Check> = {
  "frame-of-three-bytes": frames([1, 2, 3]),
  "frame-of-one-byte-twice": frames([0xaa], [0xbb]),
  "message-hello": message({
    type: MessageType.hello,
    to: [2, 0],
    from: [2, 3],
    payload: codec.encode({ protocol: PROTOCOL_VERSION }),
  }),
  "message-all-fields": message({
    ...{ type: 200, flags: 3, to: [0x01020304, 0x0102], from: [0x05060708, 0x0708] },
    ...{ mailbox: 0x090a0b0c, correlation: 0xffffffff, payload: new Uint8Array([0xff]) },
  }),
  "message-cancel": message({ type: MessageType.cancel, to: [2, 2], from: [2, 1], payload: codec.encode(7) }),
  "value-object": value(() => ({ a: 1, b: [true, null, undefined, "é"] })),
  "value-numbers": value(() => [0, -1, 70_000, 4_294_967_296, 1.5, Number.NaN]),
  "value-bigints": value(() => [1n, 18_446_744_073_709_551_616n]),
  "value-date": value(() => new Date(1_500)),
  "value-regexp": value(() => /a/g),
  "value-map": value(() => new Map([[1, 2]])),
  "value-set": value(() => new Set([1])),
  "value-uint16array": value(() => new Uint16Array([1, 2])),
  "value-dataview": value(
    () => new DataView(new ArrayBuffer(2)),
    (view: DataView) => expect([view.constructor, view.byteLength, view.getUint16(0)]).toEqual([DataView, 2, 0]),
  ),
  "value-url": value(
    () => new URL("http://x/"),
    (url: URL) => expect([url.constructor, url.href]).toEqual([URL, "http://x/"]),
  ),
  "value-shared": value(shared, (list: unknown[]) => {
    expect(list).toEqual([{ q: 1 }, { q: 1 }]);
    expect(list[0]).toBe(list[1]);
  }),
  "value-cycle": value(cycle, (list: unknown[]) => expect([list.length, list[0]]).toEqual([1, list])),
  "value-error": value(rangeError, (error: RangeError) => {
    expect(error).toBeInstanceOf(RangeError);
    expect([error.name, error.message, error.cause, error.stack]).toEqual(["RangeError", "no", 5, "RangeError: no"]);
  }),
  "run-doubles": run([1, -0], 2),
  "run-ints": run([1, -2], 3),
  "run-cbor": run(["a"], 1),
  "run-call": run(undefined, 0),
  "result-done": result((to) => sendDone(to, HERE, 1, [2.5], 1.5), { status: 0, elapsedMs: 1.5, values: [2.5] }),
  "result-failed": result((to) => sendFailed(to, HERE, 1, { values: [], errors: [[0, "bad"]] }, 0), {
    status: 1,
    elapsedMs: 0,
    values: { values: [], errors: [[0, "bad"]] },
  }),
  "result-dropped": result((to) => sendDropped(to, HERE, 1), { status: 2, elapsedMs: 0, values: [] }),
  "refused-length-beyond-the-end": refused,
  "refused-break": refused,
  "refused-tag-of-records": refused,
  "refused-bytes-after-the-value": refused,
  "echo-request": (bytes) => {
    const asked = { id: bytesFrom(0x10, 16), transaction: bytesFrom(0xa0, 8), fromOtherPort: true };
    expect(hex(encodeEchoRequest(asked, bytesFrom(0, 32)))).toBe(hex(bytes));
    expect(readEchoRequest(bytes)).toEqual(asked);
  },
  "echo-answer": (bytes) => {
    const answer = { transaction: bytesFrom(0xa0, 8), host: "198.51.100.7", port: 51_820, fromOtherPort: true };
    expect(hex(encodeEchoAnswer(answer, bytesFrom(0, 32)))).toBe(hex(bytes));
    expect(readEchoAnswer(bytes, bytesFrom(0, 32))).toEqual(answer);
  },
};

describe("PROTOCOL.md", () => {
  it("has the version of the code", () => {
    expect(text).toContain(`# The protocol of mesh, version ${PROTOCOL_VERSION}\n`);
    expect(text).toMatch(new RegExp(`^## Versions\\n(.*\\n)*${PROTOCOL_VERSION}: `, "m"));
  });

  it("has a section for every message type, and for no other", () => {
    const sections = [...text.matchAll(/^### (\w+) \((\d+)\)$/gm)].map(([, name, type]) => [name, Number(type)]);
    expect(sections).toEqual(Object.entries(MessageType).sort(([, a], [, b]) => a - b));
  });

  it("every vector has a check, and every check a vector", () => {
    expect([...vectors.keys()]).toEqual(Object.keys(checks));
  });

  it.each([...vectors.keys()])("vector %s", (name) => {
    const check = checks[name];
    if (!check) throw new Error(`no check for the vector ${name}`);
    check(bytesOf(name));
  });
});
