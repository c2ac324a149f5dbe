import { describe, expect, test } from "vitest";
import { dropSignature } from "../../core/binary/mach-o.ts";

/** A header with load commands of these kinds, 16 bytes each, and something behind them. */
function executable(kinds: number[]): Buffer {
  const header = Buffer.alloc(32 + 16 * kinds.length);
  header.writeUInt32LE(0xfeedfacf, 0);
  header.writeUInt32LE(kinds.length, 16);
  header.writeUInt32LE(16 * kinds.length, 20);
  for (const [i, kind] of kinds.entries()) {
    header.writeUInt32LE(kind, 32 + 16 * i);
    header.writeUInt32LE(16, 36 + 16 * i);
    header.writeUInt32LE(100 + i, 40 + 16 * i);
  }
  return Buffer.concat([header, Buffer.from("code")]);
}

describe("dropSignature", () => {
  test("F8: takes the command of the signature out and closes the gap", () => {
    const bytes = executable([0x19, 0x1d, 0x2]);
    dropSignature(bytes);
    expect([bytes.readUInt32LE(16), bytes.readUInt32LE(20)]).toEqual([2, 32]);
    expect([bytes.readUInt32LE(32), bytes.readUInt32LE(40)]).toEqual([0x19, 100]);
    expect([bytes.readUInt32LE(48), bytes.readUInt32LE(56)]).toEqual([0x2, 102]);
    expect(bytes.subarray(64, 80)).toEqual(Buffer.alloc(16));
    expect(bytes.subarray(80).toString()).toBe("code");
  });

  test("leaves one without a signature as it is", () => {
    const bytes = executable([0x19, 0x2]);
    dropSignature(bytes);
    expect(bytes).toEqual(executable([0x19, 0x2]));
  });

  test("refuses what is none", () => {
    expect(() => dropSignature(Buffer.from("\x7fELF".padEnd(64, "\0")))).toThrow("no executable");
    expect(() => dropSignature(Buffer.alloc(3))).toThrow("no executable");
  });
});
