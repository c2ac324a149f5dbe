import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  Form,
  readResult,
  readRun,
  type Sender,
  Status,
  sendDone,
  sendDropped,
  sendFailed,
  sendRun,
} from "../../core/api/task-wire.ts";
import { DRAFT_LIMIT_BYTES, type Draft, Drafts } from "../../core/node/drafts.ts";
import { Codec } from "../../core/wire/codec.ts";
import { type Address, HEADER_BYTES, Message } from "../../core/wire/message.ts";

const codec = new Codec();
const HERE: Address = { node: 2, slot: 1 };

/** Turns what is sent into the message that arrives. */
class Loop implements Sender {
  readonly codec = codec;
  readonly message = new Message();
  hasRoom = true;
  sends = 0;
  readonly #drafts = new Drafts();

  draft(payloadBytes: number): Draft {
    return this.#drafts.get(payloadBytes);
  }

  sendDraft(_to: Address, type: number, _mailbox: number, correlation: number, draft: Draft): boolean {
    this.sends++;
    Object.assign(this.message, { type, correlation, frame: new Uint8Array(draft.bytes) });
    return this.hasRoom;
  }

  send(_to: Address, type: number, _mailbox: number, correlation: number, payload: Uint8Array): boolean {
    this.sends++;
    const frame = new Uint8Array(HEADER_BYTES + payload.length);
    frame.set(payload, HEADER_BYTES);
    Object.assign(this.message, { type, correlation, frame });
    return this.hasRoom;
  }
}

function runThere(items: unknown[] | undefined) {
  const loop = new Loop();
  sendRun(loop, HERE, 5, 0xfedcba98, 0xfedcba, items);
  return readRun(loop.message, codec);
}

function same(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  return a.length === b.length && Array.from(a).every((value, i) => Object.is(value, b[i]));
}

const special = [0, -0, 1, -1.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 5e-324, 2 ** 53 + 2];

describe("task messages: run", () => {
  it("lists of numbers are doubles and arrive exactly: NaN, -0 and infinities, one of them or many", () => {
    const doubles = special.filter((n) => n !== 1 && !Object.is(n, 0));
    for (const items of [special, ...doubles.map((n) => [n]), Array.from({ length: 10_000 }, (_, i) => -i / 3)]) {
      const { run, form, turn, items: back } = runThere(items);
      expect([run, form, turn]).toEqual([0xfedcba98, Form.doubles, 0xfedcba]);
      expect(same(back, items)).toBe(true);
    }
  });

  it("lists of whole numbers of 32 bits are ints, one of them or many; the last one decides", () => {
    const ends = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)];
    const many = Array.from({ length: 10_000 }, (_, i) => i - 5_000);
    for (const items of [ends, ...ends.map((n) => [n]), many]) {
      const { form, items: back } = runThere(items);
      expect(form).toBe(Form.ints);
      expect(same(back, items)).toBe(true);
    }
    for (const last of [-0, 0.5, 2 ** 31, -(2 ** 31) - 1, Number.NaN]) {
      for (const items of [
        [...ends, last],
        [...many, last],
      ]) {
        const { form, items: back } = runThere(items);
        expect(form).toBe(Form.doubles);
        expect(same(back, items)).toBe(true);
      }
    }
    expect(runThere([...many, "x"]).form).toBe(Form.cbor);
  });

  it("property: any list of numbers, at any place in memory", () => {
    fc.assert(
      fc.property(fc.array(fc.double(), { minLength: 1, maxLength: 300 }), (items) => {
        expect(same(runThere(items).items, items)).toBe(true);
      }),
    );
  });

  it("lists of anything else, mixed ones and holes, are CBOR", () => {
    for (const items of [[1, "a"], ["a", 1], [1, undefined], [null], [1n], [[1]], []]) {
      const { form, items: back } = runThere(items);
      expect([form, back]).toEqual([Form.cbor, items]);
    }
    const holed = [1, 2, 3];
    delete holed[1];
    expect(runThere(holed)).toMatchObject({ form: Form.cbor, items: [1, undefined, 3] });
  });

  it("no list is one call", () => {
    expect(runThere(undefined)).toEqual({ run: 0xfedcba98, turn: 0xfedcba, form: Form.none, items: [] });
  });

  it("on both sides of the size of a draft", () => {
    for (let bytes = DRAFT_LIMIT_BYTES - 20; bytes <= DRAFT_LIMIT_BYTES + 20; bytes++) {
      const text = ["x".repeat(bytes)];
      expect(runThere(text).items).toEqual(text);
      const numbers = Array.from({ length: bytes >> 3 }, (_, i) => i);
      expect(same(runThere(numbers).items, numbers)).toBe(true);
    }
  });

  it("tells the bytes of its payload, negative when the link asks to wait", () => {
    const loop = new Loop();
    const sizeOf = (items: number[] | undefined) => sendRun(loop, HERE, 1, 1, 1, items);
    expect([sizeOf([1.5, 2]), sizeOf([1, 2]), sizeOf(undefined)]).toEqual([24, 16, 8]);
    loop.hasRoom = false;
    const sizes = [sizeOf([1.5, 2]), sizeOf(new Array(1_000).fill(1)), sizeOf(new Array(1_000).fill(1.5))];
    expect(sizes).toEqual([-24, -4_008, -8_008]);
  });

  it("nothing is sent of items that cannot travel", () => {
    const loop = new Loop();
    expect(() => sendRun(loop, HERE, 1, 1, 1, ["ok", Promise.resolve()])).toThrow(
      /^items\[1\]: a Promise cannot travel/,
    );
    expect(loop.sends).toBe(0);
  });
});

describe("task messages: result", () => {
  it("values come back as items go", () => {
    for (const values of [special, [1, "a", { b: undefined }], [undefined], [new Date(5)]]) {
      const loop = new Loop();
      sendDone(loop, HERE, 5, values, 1.25);
      const { status, elapsedMs, values: back } = readResult(loop.message, codec);
      expect([status, elapsedMs]).toEqual([Status.done, 1.25]);
      expect(Array.from(back as ArrayLike<unknown>)).toEqual(values);
    }
  });

  it("outcomes of a chunk in which something failed", () => {
    const loop = new Loop();
    sendFailed(loop, HERE, 5, { values: [1, undefined], errors: [[1, new RangeError("bad")]] }, 2);
    const { status, values } = readResult(loop.message, codec);
    expect([status, values]).toEqual([
      Status.failed,
      { values: [1, undefined], errors: [[1, expect.any(RangeError)]] },
    ]);
  });

  it("dropped has no values", () => {
    const loop = new Loop();
    sendDropped(loop, HERE, 5);
    expect(readResult(loop.message, codec)).toEqual({ status: Status.dropped, elapsedMs: 0, values: [] });
    expect(loop.message.correlation).toBe(5);
  });

  it("after a failed or dropped one, the next done is done", () => {
    const loop = new Loop();
    sendFailed(loop, HERE, 5, { values: [], errors: [[0, "x"]] }, 2);
    sendDone(loop, HERE, 5, [1], 3);
    expect(readResult(loop.message, codec)).toMatchObject({ status: Status.done, elapsedMs: 3 });
  });
});

describe("task messages: refusals", () => {
  it.each([0, 1, 7])("a run of %d bytes is too short", (bytes) => {
    const message = new Message();
    message.frame = new Uint8Array(HEADER_BYTES + bytes);
    expect(() => readRun(message, codec)).toThrow(expect.objectContaining({ code: "PROTOCOL" }));
    expect(() => readResult(message, codec)).toThrow(expect.objectContaining({ code: "PROTOCOL" }));
  });

  it("an unknown form and values that are no CBOR", () => {
    const message = new Message();
    message.frame = new Uint8Array(HEADER_BYTES + 8);
    message.frame[HEADER_BYTES + 4] = 9;
    expect(() => readRun(message, codec)).toThrow(/unknown form 9/);
    message.frame[HEADER_BYTES + 4] = Form.cbor;
    expect(() => readRun(message, codec)).toThrow(expect.objectContaining({ code: "PROTOCOL" }));
  });
});
