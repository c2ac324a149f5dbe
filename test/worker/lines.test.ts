import fc from "fast-check";
import { expect, it } from "vitest";
import { LINE_LIMIT_BYTES, LineSplitter } from "../../core/worker/lines.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder("utf-8", { fatal: true }).decode(bytes);

function split(...chunks: string[]): string[] {
  const splitter = new LineSplitter();
  return [...chunks.flatMap((chunk) => splitter.push(encode(chunk))), ...splitter.end()].map(decode);
}

const cases: [string, string[], string[]][] = [
  ["whole lines", ["a\nb\n"], ["a", "b"]],
  ["a line over several chunks", ["a", "b", "c\nd"], ["abc", "d"]],
  ["empty lines", ["\n\na\n\n"], ["", "", "a", ""]],
  ["\\r\\n", ["a\r\n\r\nb\r\n"], ["a", "", "b"]],
  ["\\r\\n cut in between", ["a\r", "\nb"], ["a", "b"]],
  ["\\r alone", ["10%\r20%\r", "30%\n"], ["10%\r20%\r30%"]],
  ["nothing", [], []],
  ["an end after a newline", ["a\n"], ["a"]],
];

it.each(cases)("LineSplitter: %s", (_name, chunks, lines) => {
  expect(split(...chunks)).toEqual(lines);
});

it("LineSplitter: a character of several bytes cut between chunks stays whole", () => {
  const bytes = encode("grün 🐟\n");
  const splitter = new LineSplitter();
  const lines = Array.from(bytes).flatMap((byte) => splitter.push(Uint8Array.of(byte)));
  expect(lines.map(decode)).toEqual(["grün 🐟"]);
});

it("LineSplitter: what it holds survives the reuse of the chunk, and a whole line is not copied", () => {
  const splitter = new LineSplitter();
  const chunk = encode("whole\nhalf");
  const [whole] = splitter.push(chunk);
  expect(whole!.buffer).toBe(chunk.buffer);
  chunk.fill(0);
  expect(splitter.push(encode("!\n")).map(decode)).toEqual(["half!"]);
});

it("LineSplitter: a line of exactly the limit is one, with \\n, \\r\\n and at the end", () => {
  const full = "x".repeat(LINE_LIMIT_BYTES);
  expect(split(`${full}\n`)).toEqual([full]);
  expect(split(`${full}\r\nb`)).toEqual([full, "b"]);
  expect(split(full, "\r", "\n", "b\n")).toEqual([full, "b"]);
  expect(split(full)).toEqual([full]);
  expect(split(`${full}y\n`)).toEqual([full, "y"]);
});

it("LineSplitter: a longer line comes in pieces at once, cut between characters", () => {
  const splitter = new LineSplitter();
  const pieces = splitter.push(encode("🐟".repeat(LINE_LIMIT_BYTES)).subarray(1)); // starts inside a character
  expect(pieces.length).toBe(3); // the fourth is no longer than the limit and may go on
  for (const piece of pieces) expect(piece.length).toBeLessThanOrEqual(LINE_LIMIT_BYTES);
  for (const piece of pieces.slice(1)) decode(piece);
});

it("LineSplitter: bytes that are not UTF-8 are cut at the limit", () => {
  const lines = new LineSplitter().push(new Uint8Array(LINE_LIMIT_BYTES * 2 + 1).fill(0x80));
  expect(lines.map((line) => line.length)).toEqual([LINE_LIMIT_BYTES, LINE_LIMIT_BYTES]);
});

it("LineSplitter: however the bytes are cut, the lines are the same", () => {
  const text = fc.array(fc.oneof(fc.constantFrom("\n", "\r\n", "\r", "ä", "🐟", "x".repeat(40_000)), fc.string()));
  fc.assert(
    fc.property(text, fc.array(fc.nat(90_000), { maxLength: 5 }), (parts, cuts) => {
      const bytes = encode(parts.join(""));
      const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
      const splitter = new LineSplitter();
      const lines = at.flatMap((from, i) => splitter.push(bytes.slice(from, at[i + 1] ?? from)));
      const got = [...lines, ...splitter.end()].map(decode);
      const whole = new LineSplitter();
      expect(got).toEqual([...whole.push(bytes), ...whole.end()].map(decode));
      expect(got.join("").replaceAll("\r", "")).toBe(parts.join("").replaceAll(/[\r\n]/g, ""));
    }),
  );
});
