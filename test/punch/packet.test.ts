import { describe, expect, it } from "vitest";
import { PACKET_BYTES, Sealer } from "../../core/punch/packet.ts";
import { randomOf } from "../support/random.ts";

const meeting = new Uint8Array(8).fill(1);
const key = new Uint8Array(32).fill(2);
const dialing = new Sealer({ meeting, key, dials: true });
const listening = new Sealer({ meeting, key, dials: false });

describe("F22 Sealer", () => {
  it("writes what the other side reads, all types in the same length", () => {
    for (const type of ["probe", "answer", "use", "used"] as const) {
      const bytes = dialing.seal({ type, number: 0xfedcba98 });
      expect(bytes).toHaveLength(PACKET_BYTES);
      expect(listening.open(bytes)).toEqual({ type, number: 0xfedcba98 });
    }
  });

  it("begins with a byte that no QUIC packet begins with", () => {
    expect(dialing.seal({ type: "probe", number: 1 })[0]! & 0xc0).toBe(0);
  });

  it("does not take its own packets for the other's", () => {
    expect(dialing.open(dialing.seal({ type: "answer", number: 1 }))).toBeUndefined();
    expect(listening.open(listening.seal({ type: "answer", number: 1 }))).toBeUndefined();
  });

  it("refuses another meeting and another key", () => {
    const others = [
      new Sealer({ meeting: new Uint8Array(8).fill(9), key, dials: true }),
      new Sealer({ meeting, key: new Uint8Array(32).fill(9), dials: true }),
    ];
    for (const other of others) expect(listening.open(other.seal({ type: "probe", number: 1 }))).toBeUndefined();
  });

  it("refuses every packet in which one bit is wrong, and every other length", () => {
    const right = dialing.seal({ type: "use", number: 77 });
    for (let bit = 0; bit < right.length * 8; bit++) {
      const wrong = Uint8Array.from(right);
      wrong[bit >> 3]! ^= 1 << (bit & 7);
      expect(listening.open(wrong)).toBeUndefined();
    }
    for (let length = 0; length < right.length; length++) {
      expect(listening.open(right.subarray(0, length))).toBeUndefined();
    }
    expect(listening.open(Buffer.concat([right, Buffer.alloc(1)]))).toBeUndefined();
  });

  it("refuses 10,000 random packets", () => {
    const random = randomOf(3);
    for (let i = 0; i < 10_000; i++) {
      const bytes = Uint8Array.from({ length: PACKET_BYTES }, () => Math.floor(random() * 256));
      expect(listening.open(bytes)).toBeUndefined();
    }
  });
});
