// Large bodies are kept where they are; with small frames around them they come back in order, from any frame on.
import fc from "fast-check";
import { expect, it } from "vitest";
import { FrameStore } from "../../core/session/frame-store.ts";

const sizes = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(20_000, 65_535, 65_536, 70_000, 300_000));

function rest(store: FrameStore): Uint8Array[] {
  const frames: Uint8Array[] = [];
  while (store.next()) {
    const head = store.at.subarray(store.start, store.end);
    frames.push(store.body ? Buffer.concat([head, store.body]) : new Uint8Array(head));
  }
  return frames;
}

it("FrameStore: property: after any release, every rewind brings the frames from there on, byte for byte", () => {
  fc.assert(
    fc.property(fc.array(sizes, { minLength: 1, maxLength: 12 }), fc.nat(), fc.nat(), (bodies, at, released) => {
      const store = new FrameStore();
      const frames = bodies.map((size, i) => {
        const head = new Uint8Array([i, size & 255, 3]);
        const body = new Uint8Array(size).fill(i + 1);
        store.add(head, body);
        return Buffer.concat([head, body]);
      });
      expect(rest(store).map((frame) => Buffer.compare(frame, frames.shift() as Buffer))).toEqual(bodies.map(() => 0));
      const gone = released % (bodies.length + 1);
      store.release(gone);
      const from = gone + (at % (bodies.length - gone + 1));
      store.rewind(from);
      const again = rest(store);
      expect(again.map((frame) => [frame[0], frame.length])).toEqual(
        bodies.slice(from).map((size, i) => [from + i, size + 3]),
      );
      store.release(bodies.length);
      expect([store.heldBytes, store.next()]).toEqual([0, false]);
    }),
  );
});
