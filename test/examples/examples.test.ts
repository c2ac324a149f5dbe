// F79 The examples, each run as a reader would run it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32, inflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type Files, MeshProcess, nothingLeft, root, runMesh, testFolder } from "../support/mesh.ts";

const example = (name: string) => join(root, "examples", name);

describe("F79 hello.ts", () => {
  test("F79 greets", async () => {
    expect(await runMesh(["run", example("hello.ts")])).toMatchObject({
      status: 0,
      stdout: "hello, mesh\nhello, world\n",
    });
  });
});

describe("F79 primes.ts", () => {
  test.each([
    [0, 0],
    [2, 0],
    [3, 1],
    [100, 25],
    [250_001, 22_044],
    [1_000_000, 78_498],
  ])("F79 below %i there are %i", async (limit, count) => {
    const { status, stdout } = await runMesh(["run", example("primes.ts"), String(limit)]);
    expect([status, stdout]).toEqual([0, `${count} primes below ${limit}\n`]);
  });

  test.each(["many", "-5", "1.5"])("F79 refuses the limit %s", async (limit) => {
    const { status, stderr } = await runMesh(["run", example("primes.ts"), limit]);
    expect([status, stderr]).toEqual([2, expect.stringContaining("usage: primes.ts [LIMIT]")]);
  });
});

/** The pixels of a PNG as mandelbrot.ts writes it; throws where one of its checksums is wrong. */
function decode(file: Buffer): { width: number; height: number; pixel(x: number, y: number): number } {
  expect(file.subarray(0, 8).toString("latin1")).toBe("\x89PNG\r\n\x1a\n");
  const chunks = new Map<string, Buffer>();
  for (let at = 8; at < file.length; ) {
    const length = file.readUInt32BE(at);
    const type = file.toString("latin1", at + 4, at + 8);
    expect(file.readUInt32BE(at + 8 + length)).toBe(crc32(file.subarray(at + 4, at + 8 + length)));
    chunks.set(type, file.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  expect([...chunks.keys()]).toEqual(["IHDR", "IDAT", "IEND"]);
  const header = chunks.get("IHDR")!;
  const width = header.readUInt32BE(0);
  const height = header.readUInt32BE(4);
  expect([...header.subarray(8)]).toEqual([8, 0, 0, 0, 0]);
  const lines = inflateSync(chunks.get("IDAT")!);
  expect(lines.length).toBe(height * (width + 1));
  return { width, height, pixel: (x, y) => lines[y * (width + 1) + 1 + x]! };
}

describe("F79 mandelbrot.ts", () => {
  test("F79 writes a PNG: black inside of the set, light far from it, its halves alike", async () => {
    using folder = testFolder();
    await using mesh = new MeshProcess(folder, ["run", example("mandelbrot.ts"), "m.png"]);
    expect(await mesh.ended()).toMatchObject({ status: 0, stdout: "m.png: 600 x 400\n" });
    const { width, height, pixel } = decode(readFileSync(folder.at("m.png")));
    expect([width, height]).toEqual([600, 400]);
    const at = (re: number, im: number) =>
      pixel(Math.floor(((re + 2) / 3) * width), Math.floor(((im + 1) / 2) * height));
    expect([at(0, 0.01), at(-1, 0.01), at(-0.1, 0.6)]).toEqual([0, 0, 0]);
    expect(Math.min(at(0.9, 0.9), at(-1.9, 0.9), at(0.9, -0.9))).toBeGreaterThan(200);
    const alike = Array.from({ length: width }, (_, x) => pixel(x, 60) === pixel(x, height - 61));
    expect(alike.every(Boolean)).toBe(true);
  });
});

describe("F79 word-count.ts", () => {
  const count = async (files: Files, ...options: string[]) => {
    using folder = testFolder();
    folder.write(Object.fromEntries(Object.entries(files).map(([name, content]) => [`texts/${name}`, content])));
    await using mesh = new MeshProcess(folder, ["run", example("word-count.ts"), "texts", ...options]);
    const result = await mesh.ended();
    await nothingLeft(folder);
    return { ...result, lines: result.stdout.split("\n") };
  };

  test("F79 counts words in folders of folders, without regard to case, and leaves binary files and links out", async () => {
    const { status, lines } = await count({
      "a.txt": "The cat and the dog.\nTHE END",
      "deep/er/b.txt": "don't: the Äpfel äpfel",
      "deep/binary": new Uint8Array([116, 104, 101, 0, 1]),
      "deep/empty": "",
      "deep/circle": { link: "../deep" },
      "link.txt": { link: "a.txt" },
      "gone.txt": { link: "nowhere" },
    });
    expect(lines.slice(0, 4)).toEqual([
      "3 files, 52 bytes, 11 words, 7 different ones",
      "skipped: 1 binary files, 0 that could not be read",
      "         4  the",
      "         2  äpfel",
    ]);
    expect(status).toBe(0);
  });

  test("F79 cuts large files in pieces between words; --check agrees", async () => {
    const words = Array.from({ length: 700_000 }, (_, i) => `word${"abcdefg"[i % 7]}`).join(" ");
    const { status, lines } = await count({ "large.txt": words, "small.txt": "worda" }, "--check");
    expect(lines[0]).toBe(`2 files, ${words.length + 5} bytes, 700001 words, 7 different ones`);
    expect(lines[2]).toBe("    100001  worda");
    expect(lines).toContain("both counts agree");
    expect(status).toBe(0);
  });

  test("F79 many small files; --check agrees", async () => {
    const files = Object.fromEntries(
      Array.from({ length: 1_500 }, (_, i) => [`${i % 20}/${i}.txt`, `one two ${i % 3 ? "three" : "four"}`]),
    );
    const { status, lines } = await count(files, "--check");
    expect(lines[0]).toMatch(/^1500 files, \d+ bytes, 4500 words, 4 different ones$/);
    expect(lines.slice(2, 6)).toEqual(["      1500  one", "      1500  two", "      1000  three", "       500  four"]);
    expect([status, lines.at(-2)]).toEqual([0, "both counts agree"]);
  });

  test.each([[[]], [["no/such/folder"]], [["a", "b"]], [["--chekc"]]])("F79 refuses the arguments %j", async (args) => {
    const { status, stderr } = await runMesh(["run", example("word-count.ts"), ...args]);
    expect([status, stderr]).toEqual([2, expect.stringMatching(/usage: |is not a folder/)]);
  });
});

describe("F79 pipe.ts", () => {
  test("F79 F37 F38 a process answers over pipes", async () => {
    const { status, stdout } = await runMesh(["run", example("pipe.ts")]);
    const answers = ["hello, got HELLO!", "pipes, got PIPES!", "anywhere, got ANYWHERE!"].map(
      (text) => `here sent ${text}\n`,
    );
    expect([status, stdout]).toEqual([0, `${answers.join("")}the process ended with 0\n`]);
  });
});
