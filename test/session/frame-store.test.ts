import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FrameStore } from "../../core/session/frame-store.ts";

function frameOf(number: number, sizeBytes: number): Uint8Array {
  return new Uint8Array(sizeBytes).fill(number + 1);
}

/** The frame to which `next` went, as text of its size and its bytes, which are all the same. */
function current({ at, start, end }: FrameStore): string {
  if (at[start] !== at[end - 1]) throw new Error("bytes of several frames");
  return `${end - start}:${at[start]}`;
}

const SIZES = [1, 3, 500, 16_380, 17_000, 65_532, 65_533, 400_000, 1_100_000];

describe("FrameStore", () => {
  it("reads what was added, in order, head and body as one", () => {
    const store = new FrameStore();
    store.add(new Uint8Array([1, 2]), new Uint8Array([3]));
    store.add(new Uint8Array([4]));
    const read: number[][] = [];
    while (store.next()) read.push([...store.at.subarray(store.start, store.end)]);
    expect(read).toEqual([[1, 2, 3], [4]]);
    expect([store.frames, store.bytes, store.readFrames, store.readBytes]).toEqual([2, 12, 2, 12]);
  });

  it("gives memory back as frames are released, and all of it when none is left", () => {
    const store = new FrameStore();
    for (let i = 0; i < 300; i++) store.add(frameOf(i, 1_000));
    expect(store.heldBytes).toBe(5 * 65_536);
    store.readAll();
    store.release(200);
    expect(store.heldBytes).toBe(2 * 65_536);
    store.release(300);
    expect(store.heldBytes).toBe(0);
    store.add(frameOf(7, 10));
    expect([store.next(), current(store)]).toEqual([true, "10:8"]);
  });

  it("a frame that is gone cannot be read again", () => {
    const store = new FrameStore();
    for (let i = 0; i < 70; i++) store.add(frameOf(i, 1_000));
    store.readAll();
    store.release(66);
    expect(() => store.rewind(3)).toThrow(/frame 3 is gone, the first left is 65/);
  });

  it("does what a list of frames does, whatever is done in whatever order", () => {
    const action = fc.oneof(
      { weight: 4, arbitrary: fc.record({ add: fc.constantFrom(...SIZES), times: fc.integer({ min: 1, max: 9 }) }) },
      { weight: 3, arbitrary: fc.record({ read: fc.integer({ min: 1, max: 20 }) }) },
      { weight: 2, arbitrary: fc.record({ release: fc.double({ min: 0, max: 1, noNaN: true }) }) },
      { weight: 1, arbitrary: fc.record({ rewind: fc.double({ min: 0, max: 1, noNaN: true }) }) },
      { weight: 1, arbitrary: fc.constant({ readAll: true as const }) },
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
        const store = new FrameStore();
        const sizes: number[] = [];
        let [read, released] = [0, 0];
        for (const act of actions) {
          if ("add" in act) {
            for (let i = 0; i < act.times; i++) {
              store.add(frameOf(sizes.length % 200, act.add));
              sizes.push(act.add);
            }
          } else if ("read" in act) {
            for (let i = 0; i < act.read; i++) {
              expect(store.next()).toBe(read < sizes.length);
              if (read < sizes.length) expect(current(store)).toBe(`${sizes[read]}:${(read++ % 200) + 1}`);
            }
          } else if ("release" in act) {
            released += Math.floor((read - released) * act.release);
            store.release(released);
          } else if ("rewind" in act) {
            read = released + Math.floor((sizes.length - released) * act.rewind);
            store.rewind(read);
          } else {
            store.readAll();
            read = sizes.length;
          }
          const readBytes = sizes.slice(0, read).reduce((sum, size) => sum + size + 4, 0);
          expect([store.frames, store.readFrames, store.readBytes]).toEqual([sizes.length, read, readBytes]);
          if (released === sizes.length) expect(store.heldBytes).toBe(0);
        }
        store.clear();
        expect(store.heldBytes).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});
