import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { emptyMessage, HEADER_BYTES, readMessage, writeHeader } from "../../core/wire/message.ts";
import { MessageType, messageTypeName } from "../../core/wire/message-types.ts";

const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });

function frameOf(bytes = HEADER_BYTES): Uint8Array {
  return new Uint8Array(bytes);
}

describe("readMessage", () => {
  it("property: reads what writeHeader wrote", () => {
    const fields = fc.record({
      ...{ type: u8, flags: fc.integer({ min: 0, max: 3 }), toNode: u32, toSlot: u16, fromNode: u32, fromSlot: u16 },
      ...{ mailbox: u32, correlation: u32 },
    });
    const reused = emptyMessage();
    fc.assert(
      fc.property(fields, fc.uint8Array({ maxLength: 40 }), (header, payload) => {
        const frame = frameOf(HEADER_BYTES + payload.length).fill(0xaa);
        frame.set(payload, HEADER_BYTES);
        const to = { node: header.toNode, slot: header.toSlot };
        const from = { node: header.fromNode, slot: header.fromSlot };
        const view = new DataView(frame.buffer);
        writeHeader(view, header.type, header.flags, to, from, header.mailbox, header.correlation);
        readMessage(frame, reused);
        expect(reused).toMatchObject(header);
        expect(reused.payload).toEqual(payload);
      }),
      { numRuns: 500 },
    );
  });

  it("refuses what is shorter than a header", () => {
    for (let size = 0; size < HEADER_BYTES; size++) {
      const refused = expect.objectContaining({
        code: "PROTOCOL",
        message: expect.stringContaining(`this one ${size}`),
      });
      expect(() => readMessage(frameOf(size), emptyMessage())).toThrow(refused);
    }
    readMessage(frameOf(), emptyMessage());
  });

  it("refuses every unknown flag", () => {
    for (let flags = 16; flags < 256; flags++) {
      const frame = frameOf();
      frame[1] = flags;
      expect(() => readMessage(frame, emptyMessage())).toThrow(expect.objectContaining({ code: "PROTOCOL" }));
    }
  });

  it("refuses the number of a transfer in what is no piece", () => {
    for (const at of [14, 15]) {
      const frame = frameOf();
      frame[at] = 1;
      expect(() => readMessage(frame, emptyMessage())).toThrow(expect.objectContaining({ code: "PROTOCOL" }));
    }
  });
});

describe("MessageType", () => {
  it("no number is given twice, each fits a byte and has its name", () => {
    const numbers = Object.values(MessageType);
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const [name, type] of Object.entries(MessageType)) {
      expect(type).toBeLessThan(256);
      expect(messageTypeName(type)).toBe(name);
    }
    expect(messageTypeName(255)).toBe("type 255");
  });
});
