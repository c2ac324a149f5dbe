import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FRAME_LIMIT_BYTES } from "../../core/transport.ts";
import { BUFFER_SIZES } from "../../core/wire/buffers.ts";
import { checkFrameSize, FRAME_HEAD_BYTES, FrameReader, writeFrameHead } from "../../core/wire/frame.ts";

function framed(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(FRAME_HEAD_BYTES + body.length);
  writeFrameHead(bytes, 0, body.length);
  bytes.set(body, FRAME_HEAD_BYTES);
  return bytes;
}

/** The frames that come out when the stream arrives in chunks that end at `cuts`. */
function readIn(stream: Uint8Array, cuts: number[]): Uint8Array[] {
  const reader = new FrameReader();
  const frames: Uint8Array[] = [];
  const ends = [...new Set(cuts.map((cut) => cut % (stream.length + 1))), stream.length].sort((a, b) => a - b);
  let from = 0;
  for (const end of ends) {
    // A copy, overwritten afterwards: the reader must not hold on to a chunk.
    const chunk = new Uint8Array(stream.subarray(from, end));
    reader.push(chunk, (frame) => void frames.push(new Uint8Array(frame)));
    chunk.fill(0xee);
    from = end;
  }
  expect(reader.pendingBytes).toBe(0);
  return frames;
}

describe("FrameReader", () => {
  const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 12 });

  it("property: any chunking of any frames gives the same frames", () => {
    fc.assert(
      fc.property(bodies, fc.array(fc.nat(), { maxLength: 20 }), (list, cuts) => {
        expect(readIn(Buffer.concat(list.map(framed)), cuts)).toEqual(list);
      }),
      { numRuns: 500 },
    );
  });

  it("frames of all sizes, byte by byte and around the sizes of its buffer", () => {
    const small = [new Uint8Array([1]), new Uint8Array(5).fill(2)];
    const stream = Buffer.concat(small.map(framed));
    expect(readIn(stream, [...stream.keys()])).toEqual(small);
    const large = [1024 * 1024 - 4, 1024 * 1024, 3 * 1024 * 1024, 7].map((size) =>
      new Uint8Array(size).fill(size % 251),
    );
    const cuts = [1, 3, 4, 5, 1_000_000, 1_048_575, 1_048_576, 1_048_581, 2_000_000, 4_000_000];
    const got = readIn(Buffer.concat(large.map(framed)), cuts);
    expect(got.map((frame) => frame.length)).toEqual(large.map((frame) => frame.length));
    for (const [i, frame] of got.entries()) expect(Buffer.compare(frame, large[i]!)).toBe(0);
  });

  it("property: large frames in chunks of any size, many at a time", () => {
    const size = fc.constantFrom(...BUFFER_SIZES, 4_096, 70_000, 1_500_000).map((bytes) => bytes - FRAME_HEAD_BYTES);
    const sizes = fc.array(fc.tuple(size, fc.integer({ min: -5, max: 5 })), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(sizes, fc.array(fc.nat(), { maxLength: 30 }), (list, cuts) => {
        const frames = list.map(([bytes, more], i) => new Uint8Array(bytes + more).fill(i + 1));
        const got = readIn(Buffer.concat(frames.map(framed)), cuts);
        expect(got.map((frame) => frame.length)).toEqual(frames.map((frame) => frame.length));
        for (const [i, frame] of got.entries()) expect(Buffer.compare(frame, frames[i]!)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it("a limit of its own is kept, and what it holds can be forgotten", () => {
    const reader = new FrameReader(10);
    const lengths: number[] = [];
    const take = (frame: Uint8Array) => void lengths.push(frame.length);
    reader.push(framed(new Uint8Array(10)), take);
    reader.push(framed(new Uint8Array(9)).subarray(0, 8), take);
    reader.clear();
    expect(reader.pendingBytes).toBe(0);
    reader.push(framed(new Uint8Array(8)), take);
    expect(lengths).toEqual([10, 8]);
    const refused = expect.objectContaining({ code: "PROTOCOL", message: expect.stringContaining("1 to 10") });
    expect(() => reader.push(framed(new Uint8Array(11)), take)).toThrow(refused);
  });

  it("a frame of the limit passes, one byte more is refused", () => {
    expect(readIn(framed(new Uint8Array(FRAME_LIMIT_BYTES)), [100])[0]).toHaveLength(FRAME_LIMIT_BYTES);
    checkFrameSize(FRAME_LIMIT_BYTES);
    expect(() => checkFrameSize(FRAME_LIMIT_BYTES + 1)).toThrow(expect.objectContaining({ code: "FRAME_TOO_LARGE" }));
    expect(() => checkFrameSize(0)).toThrow("at least one byte");
  });

  it.each([0, FRAME_LIMIT_BYTES + 1, 0x7fffffff, 0x80000000, 0xffffffff])("a length of %d is refused", (length) => {
    const head = new Uint8Array(FRAME_HEAD_BYTES);
    new DataView(head.buffer).setUint32(0, length);
    const refused = expect.objectContaining({ code: "PROTOCOL", message: expect.stringContaining(`${length} bytes`) });
    expect(() => new FrameReader().push(head, () => {})).toThrow(refused);
    const inTwo = new FrameReader();
    inTwo.push(head.subarray(0, 2), () => {});
    expect(() => inTwo.push(head.subarray(2), () => {})).toThrow(refused);
    const afterGood = new FrameReader();
    const frames: number[] = [];
    const stream = Buffer.concat([framed(new Uint8Array(3)), head]);
    expect(() => afterGood.push(stream, (frame) => void frames.push(frame.length))).toThrow(refused);
    expect(frames).toEqual([3]);
  });

  it("holds what came, not what was announced", () => {
    const reader = new FrameReader();
    const head = new Uint8Array(FRAME_HEAD_BYTES);
    writeFrameHead(head, 0, FRAME_LIMIT_BYTES);
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 1_000 }, () => {
      const other = new FrameReader();
      other.push(head, () => {});
      other.push(new Uint8Array(100), () => {});
      return other;
    });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * 1024 * 1024); // announced: 16 GiB
    expect(readers.every((other) => other.pendingBytes === FRAME_HEAD_BYTES + 100)).toBe(true);
    reader.push(head, () => {});
    expect(reader.pendingBytes).toBe(FRAME_HEAD_BYTES);
    let sent = 0;
    for (const size of [1, 10, 1_000, 70_000]) {
      reader.push(new Uint8Array(size), () => {});
      sent += size;
      expect(reader.pendingBytes).toBe(FRAME_HEAD_BYTES + sent);
    }
  });
});
