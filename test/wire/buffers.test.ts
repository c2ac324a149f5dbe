import { expect, it } from "vitest";
import { BUFFER_SIZES, giveBuffer, takeBuffer } from "../../core/wire/buffers.ts";

it("takeBuffer: gives the smallest size that fits, and exactly what is asked for above the largest", () => {
  const [small, middle, large] = BUFFER_SIZES as [number, number, number];
  for (const size of [small, middle, large]) {
    expect(takeBuffer(size)).toHaveLength(size);
    expect(takeBuffer(size - 1)).toHaveLength(size);
  }
  expect(takeBuffer(small + 1)).toHaveLength(middle);
  expect(takeBuffer(large + 1)).toHaveLength(large + 1);
});

it("giveBuffer: what is given back is taken again, and nothing twice", () => {
  for (const size of BUFFER_SIZES) {
    const given = takeBuffer(size);
    giveBuffer(given);
    // Compared here: expect(…).toBe looks at every byte, also of what is the same.
    expect([takeBuffer(size) === given, takeBuffer(size) === given]).toEqual([true, false]);
  }
});

it("giveBuffer: keeps only so many, and none of other sizes", () => {
  const size = BUFFER_SIZES.at(-1)!;
  const given = new Set<Uint8Array>(Array.from({ length: 100 }, () => new Uint8Array(size)));
  for (const bytes of given) giveBuffer(bytes);
  giveBuffer(new Uint8Array(size + 1));
  let kept = 0;
  while (given.has(takeBuffer(size))) kept++;
  expect(kept).toBe(8);
});
