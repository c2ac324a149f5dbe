// What a node is asked about its files: as schemas and as types. Who only asks imports the types and loads nothing.
import * as z from "zod";
import { bytes, measure, whole } from "../wire/body-checks.ts";

const MIB = 1024 * 1024;
const PATH_LIMIT = 4_096;

const path = z.string().min(1).max(PATH_LIMIT);
const place = z.union([
  z.object({ root: z.literal("files"), dir: z.string().max(PATH_LIMIT), name: z.string().max(1_024) }),
  z.object({ root: z.literal("user"), path }),
  z.object({ root: z.literal("log") }),
]);
const size = measure(2 ** 53);
const mode = whole(0, 0o777);
const time = z.number().min(-8.64e15).max(8.64e15);
const hash = z.string().regex(/^[0-9a-f]{64}$/, "not a SHA-256");
const facts = z.object({ sizeBytes: size, mtimeMs: time, mode });
/** From the answer to fileOpen or fileBegin: the asker's alone. */
const file = whole(1, 0xffffffff);

/** Request: what is there; answered with Look. */
export const fileList = z.object({ place, withEntries: z.boolean() });
/** Request: a file to read; answered with Opened. */
export const fileOpen = z.object({ place });
/** Request; answered with the bytes, fewer at the end of the file. */
export const fileRead = z.object({ file, offset: size, sizeBytes: whole(1, MIB) });
/** Request; answered with the SHA-256 of so many first bytes, in hexadecimal. */
export const fileHash = z.object({ file, sizeBytes: size });
/** Request: no more of a file that was read. */
export const fileClose = z.object({ file });
/** Request: a file to write; answered with BegunThere. */
export const fileBegin = z.object({ place, facts, overwrite: z.boolean(), compares: z.boolean() });
/** Request: the bytes behind those before; at 0 it begins anew. */
export const fileWrite = z.object({ file, offset: size, bytes: bytes(MIB) });
/** Request: all of it was written, and has this hash; answered with {state: "saved"} or what came there meanwhile. */
export const fileFinish = z.object({ file, hash });
/** Request: no more of a file that was written; what is there is kept for another attempt or not. */
export const fileAbandon = z.object({ file, keeps: z.boolean() });
/** Request; answered with whether there was one. */
export const fileDelete = z.object({ place });
/** Request: a folder, made if it is missing; or with facts, what those are to be of what is there. */
export const fileFolder = z.object({ place, facts: z.exactOptional(z.object({ mtimeMs: time, mode })) });

/** Answer to fileOpen. */
export interface Opened {
  file: number;
  facts: z.infer<typeof facts>;
}

/** Answer to fileBegin. */
export type BegunThere =
  | { state: "write"; file: number; path: string; offset: number; hash: string }
  | { state: "compare" | "exists"; path: string; standing: { sizeBytes: number; mtimeMs: number; hash: string } };
