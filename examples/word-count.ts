// Counts the words of all text files below a folder, on all cores.
//
//   mesh run examples/word-count.ts FOLDER
//   mesh run examples/word-count.ts FOLDER --check    counts once more in a single process and compares
import { closeSync, openSync, readSync } from "node:fs";
import { opendir, stat } from "node:fs/promises";
import { join } from "node:path";
import { args, pool } from "mesh";

/** Part of a file: large ones are counted in pieces. */
interface Piece {
  path: string;
  from: number;
  to: number;
}

/** What a batch of pieces came to. */
interface Counts {
  files: number;
  bytes: number;
  words: number;
  unreadable: number;
  binary: number;
  frequency: Map<string, number>;
}

// A task has to be worth sending: small files go in batches of this size, larger ones in pieces of it.
const BATCH_BYTES = 1 << 20;
const BATCH_FILES = 200;
/** Words longer than this are cut where pieces meet; it bounds what a piece reads beyond its end. */
const LONGEST_WORD = 256;

const check = args.includes("--check");
const folders = args.filter((arg) => !arg.startsWith("--"));
const folder = folders[0];
if (folder === undefined || folders.length > 1 || args.some((arg) => arg.startsWith("--") && arg !== "--check")) {
  console.error("usage: word-count.ts FOLDER [--check]");
  process.exit(2);
}
const isFolder = await stat(folder).then(
  (found) => found.isDirectory(),
  () => false,
);
if (!isFolder) {
  console.error(`${folder} is not a folder that can be read`);
  process.exit(2);
}

/** Folders and files that could not even be looked at. */
let skipped = 0;

/** All files below a folder. Symbolic links are not followed: they may lead in circles, or count a file twice. */
async function* filesBelow(path: string): AsyncGenerator<string> {
  try {
    for await (const entry of await opendir(path)) {
      const inside = join(path, entry.name);
      if (entry.isDirectory()) yield* filesBelow(inside);
      else if (entry.isFile()) yield inside;
    }
  } catch {
    skipped++;
  }
}

/** Files in batches, read from disk only as fast as slots count them. */
async function* batches(path: string): AsyncGenerator<Piece[]> {
  let batch: Piece[] = [];
  let bytes = 0;
  for await (const file of filesBelow(path)) {
    const size = await stat(file).then(
      (found) => found.size,
      () => -1,
    );
    if (size < 0) skipped++;
    for (let from = 0; from === 0 ? size >= 0 : from < size; from += BATCH_BYTES) {
      const to = Math.min(from + BATCH_BYTES, size);
      batch.push({ path: file, from, to });
      bytes += to - from;
      if (bytes < BATCH_BYTES && batch.length < BATCH_FILES) continue;
      yield batch;
      batch = [];
      bytes = 0;
    }
  }
  if (batch.length > 0) yield batch;
}

/** Reads [from, to) of a file; less when it has become shorter. */
function read(file: number, from: number, to: number): Buffer {
  const buffer = Buffer.allocUnsafe(Math.max(0, to - from));
  return buffer.subarray(0, readSync(file, buffer, 0, buffer.length, from));
}

const isLetter = (byte: number | undefined) =>
  byte !== undefined && (byte >= 128 || (byte >= 97 && byte <= 122) || (byte >= 65 && byte <= 90) || byte === 39);

/** The text of a piece: a word belongs to the piece it begins in, so it is cut where no word is. Undefined: binary. */
function textOf({ path, from, to }: Piece): string | undefined {
  const file = openSync(path, "r");
  try {
    if (read(file, 0, 4096).includes(0)) return undefined; // no text has a zero byte
    const start = Math.max(0, from - 1); // one byte more, to see whether a word runs into this piece
    const bytes = read(file, start, to + LONGEST_WORD);
    let begin = from - start;
    if (from > 0 && isLetter(bytes[0])) while (begin < bytes.length && isLetter(bytes[begin])) begin++;
    let end = Math.min(to - start, bytes.length);
    if (isLetter(bytes[end - 1])) while (end < bytes.length && isLetter(bytes[end])) end++;
    return bytes.toString("utf8", Math.min(begin, end), end);
  } finally {
    closeSync(file);
  }
}

/** Counts the words of a batch: runs of letters, without regard to case. */
function count(batch: Piece[]): Counts {
  const counts: Counts = { files: 0, bytes: 0, words: 0, unreadable: 0, binary: 0, frequency: new Map() };
  for (const piece of batch) {
    const first = piece.from === 0 ? 1 : 0;
    try {
      const text = textOf(piece);
      if (text === undefined) {
        counts.binary += first;
        continue;
      }
      counts.files += first;
      counts.bytes += piece.to - piece.from;
      for (const [word] of text.toLowerCase().matchAll(/[\p{L}']+/gu)) {
        counts.words++;
        counts.frequency.set(word, (counts.frequency.get(word) ?? 0) + 1);
      }
    } catch {
      counts.unreadable += first;
    }
  }
  return counts;
}

/** A task for slots: counts in a form that is quick to send, one text and one list instead of thousands of entries. */
function countPacked(batch: Piece[]) {
  const { frequency, ...sums } = count(batch);
  return { ...sums, different: [...frequency.keys()].join(" "), times: Uint32Array.from(frequency.values()) };
}

function unpack({ different, times, ...sums }: ReturnType<typeof countPacked>): Counts {
  const words = times.length === 0 ? [] : different.split(" ");
  return { ...sums, frequency: new Map(words.map((word, i) => [word, times[i] ?? 0])) };
}

function add(total: Counts, part: Counts): void {
  for (const key of ["files", "bytes", "words", "unreadable", "binary"] as const) total[key] += part[key];
  for (const [word, times] of part.frequency) total.frequency.set(word, (total.frequency.get(word) ?? 0) + times);
}

function nothing(): Counts {
  return { files: 0, bytes: 0, words: 0, unreadable: 0, binary: 0, frequency: new Map() };
}

/** The most frequent words, and of equally frequent ones the first in the alphabet. */
function top({ frequency }: Counts, length: number): [word: string, times: number][] {
  return [...frequency].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).slice(0, length);
}

const begun = performance.now();
const total = nothing();
for await (const part of pool().imapUnordered(countPacked, batches(folder))) add(total, unpack(part));
const took = performance.now() - begun;

const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
console.log(`${total.files} files, ${total.bytes} bytes, ${total.words} words, ${total.frequency.size} different ones`);
console.log(`skipped: ${total.binary} binary files, ${total.unreadable + skipped} that could not be read`);
for (const [word, times] of top(total, 10)) console.log(`${String(times).padStart(10)}  ${word}`);
console.log(`on all cores: ${seconds(took)}`);

if (check) {
  // The same work with the same code, in this process alone.
  const begunAlone = performance.now();
  const alone = nothing();
  for await (const batch of batches(folder)) add(alone, count(batch));
  const tookAlone = performance.now() - begunAlone;
  const agrees =
    JSON.stringify([alone.files, alone.words, top(alone, 1000)]) ===
    JSON.stringify([total.files, total.words, top(total, 1000)]);
  console.log(`in a single process: ${seconds(tookAlone)}, ${(tookAlone / took).toFixed(2)} times as long`);
  console.log(
    agrees
      ? "both counts agree"
      : `they do not agree: ${alone.words} words in a single process (did a file change meanwhile?)`,
  );
  if (!agrees) process.exitCode = 1;
}
