// Copies one file from wherever to wherever, and not a byte of what is there already.
import { MeshError } from "../errors.ts";
import type { Files, Place, Source, Standing, Target } from "./files.ts";
import { PIECE_BYTES } from "./local-source.ts";

export interface CopyOptions {
  /** Replaces a file of other content. */
  overwrite: boolean;
  /** Gives permissions and time also to a file whose content is there already. */
  adjusts: boolean;
  signal?: AbortSignal | undefined;
  /** Hears of bytes that are there now, those of an earlier attempt included. */
  progress?(bytes: number): void;
}

export type Copied = {
  /** Where it is, or would be. */
  path: string;
  sizeBytes: number;
} & (
  | { state: "saved"; hash: string; sentBytes: number }
  | { state: "unchanged"; hash: string }
  | { state: "exists"; standing: Standing }
);

/** A file: where, and of which files. */
export interface FileAt {
  files: Files;
  place: Place;
}

/** Pieces that are read and not written yet. */
const AHEAD = 8;

/** Throws what `files` throw, and CANCELLED; what was written is kept for another attempt then. */
export async function copyFile(from: FileAt, to: FileAt, options: CopyOptions): Promise<Copied> {
  checkGoesOn(options.signal);
  const source = await from.files.open(from.place);
  try {
    return await copySource(source, to, options);
  } finally {
    await source.close().catch(() => {}); // who reads it is gone, and the file with it
  }
}

async function copySource(source: Source, { files, place }: FileAt, options: CopyOptions): Promise<Copied> {
  const { facts } = source;
  const { sizeBytes } = facts;
  const { overwrite, adjusts, progress } = options;
  let begun = await files.begin(place, facts, { overwrite, compares: true });
  if (begun.state === "compare") {
    const { path, standing } = begun;
    const hash = await source.hash(sizeBytes);
    if (hash === standing.hash) {
      if (adjusts) await files.adjust(place, facts);
      progress?.(sizeBytes);
      return { state: "unchanged", path, sizeBytes, hash };
    }
    if (!overwrite) return { state: "exists", path, sizeBytes, standing };
    begun = await files.begin(place, facts, { overwrite, compares: false });
  }
  if (begun.state !== "write") return { state: "exists", path: begun.path, sizeBytes, standing: begun.standing };
  return await writeTarget(source, begun.target, options);
}

async function writeTarget(source: Source, target: Target, options: CopyOptions): Promise<Copied> {
  const { path } = target;
  const { sizeBytes } = source.facts;
  try {
    const isPart = target.offset > 0 && (await source.hash(target.offset)) === target.hash;
    const offset = isPart ? target.offset : 0;
    if (offset > 0) options.progress?.(offset);
    await pour(source, target, offset, options);
    const hash = await source.hash(sizeBytes);
    const end = await target.finish(hash);
    if (end.state === "exists") return { state: "exists", path, sizeBytes, standing: end.standing };
    return { state: "saved", path, sizeBytes, hash, sentBytes: sizeBytes - offset };
  } catch (error) {
    await target.abandon(true).catch(() => {}); // its node is gone: it lets go of it by itself
    throw error;
  }
}

/** Some pieces are always on their way, in order: reading, sending and writing go on side by side. */
async function pour(source: Source, target: Target, from: number, { signal, progress }: CopyOptions): Promise<void> {
  const { sizeBytes } = source.facts;
  const underWay: Promise<void>[] = [];
  try {
    for (let offset = from; offset < sizeBytes; offset += PIECE_BYTES) {
      checkGoesOn(signal);
      const length = Math.min(PIECE_BYTES, sizeBytes - offset);
      if (underWay.length >= AHEAD) await underWay.shift();
      const piece = movePiece(source, target, offset, length).then(() => progress?.(length));
      piece.catch(() => {}); // told when its turn comes
      underWay.push(piece);
    }
    await Promise.all(underWay);
  } finally {
    await Promise.allSettled(underWay);
  }
}

async function movePiece(source: Source, target: Target, offset: number, length: number): Promise<void> {
  const bytes = await source.read(offset, length);
  if (bytes.length < length) {
    throw new MeshError("STORAGE", "the file became shorter while it was copied: try again");
  }
  await target.write(offset, bytes);
}

function checkGoesOn(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new MeshError("CANCELLED", "copying was cancelled", { cause: signal.reason });
}
