// One upload of the binary into one folder of a host.
import { randomBytes } from "node:crypto";
import { isMeshError, MeshError } from "../errors.ts";
import type { Binary, PackedBinary, Packing } from "../provider.ts";
import { digestVariables } from "./digests.ts";
import { limited } from "./limited.ts";
import { answersIn, remoteScript, wordsOf } from "./remote-script.ts";
import digest from "./scripts/digest.sh" with { type: "text" };
import script from "./scripts/upload.sh" with { type: "text" };
import type { Conversation, Shell } from "./shell.ts";

/** A host that takes nothing for so long is given up; so is one that does not say what became of it. */
const STALL_LIMIT_MS = 60_000;
const OUTPUT_LIMIT_BYTES = 64 * 1024;
const CHUNK_BYTES = 256 * 1024;
/** Between two words to people. */
const PROGRESS_MS = 250;

export interface UploadFailure {
  /** "unfit": it does not run on that system. "cut", "altered": not what was sent. */
  kind: "storage" | "noexec" | "unfit" | "cut" | "altered";
  /** Of the tool there that failed. */
  words: string;
}

export interface UploadResult {
  sentBytes: number;
  failure?: UploadFailure;
}

export interface UploadOptions {
  /** A folder of caches there. */
  folder: string;
  binary: Binary;
  /** Of the host. */
  tools: ReadonlySet<string>;
  progress?: ((text: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Sends the binary, and tells what the host made of it. Throws when the host cannot tell: LINK_CLOSED, TIMEOUT, CANCELLED. The host
 * removes what it has of it then.
 */
export async function upload(shell: Shell, options: UploadOptions): Promise<UploadResult> {
  const { folder, binary, tools, signal } = options;
  const parcel = await parcelFor(binary, tools);
  const variables = {
    ...(await digestVariables(binary, tools)),
    CACHE: folder,
    PACKED: parcel.packing ?? "no",
    RANDOM_WORD: randomBytes(6).toString("hex"),
  };
  const { command, text, mark } = remoteScript(digest + script, variables, { hasInput: true });
  const conversation = await shell.open(command, signal ? { signal } : {});
  try {
    const output = collect(conversation);
    output.catch(() => {}); // told below, unless sending fails first
    const sentBytes = await send(conversation, text, parcel, options, shell.label);
    const limit = { ms: STALL_LIMIT_MS, signal, what: `${shell.label}: checking the binary that was sent` };
    const answers = answersIn(await limited(output, limit), mark);
    const failure = failureIn(answers);
    if (failure || answers.some(([word]) => word === "ready")) return { sentBytes, ...(failure && { failure }) };
    throw noAnswer(shell.label, conversation.stderr);
  } finally {
    conversation.kill();
  }
}

/** What is sent. */
interface Parcel extends PackedBinary {
  /** Undefined: as it is. */
  packing?: Packing;
}

/** The binary as a host with these tools gets it. zstd takes a third of gzip's time there, and is smaller. */
export async function parcelFor(binary: Binary, tools: ReadonlySet<string>): Promise<Parcel> {
  const packing = (["zstd", "gzip"] as const).find((format) => tools.has(format));
  return packing ? { ...(await binary.packed(packing)), packing } : binary;
}

/** Sends the script, then the binary, until all is sent or the host takes no more. Returns the bytes of the binary. */
async function send(
  conversation: Conversation,
  script: Uint8Array,
  { path, sizeBytes: totalBytes }: Parcel,
  { progress, signal }: UploadOptions,
  label: string,
): Promise<number> {
  const limit = { ms: STALL_LIMIT_MS, signal, what: `${label}: sending the binary` };
  let sentBytes = 0;
  let told = 0;
  try {
    await limited(conversation.write(script), limit);
    for await (const chunk of chunksOf(path)) {
      const now = performance.now();
      if (now - told >= PROGRESS_MS) {
        progress?.(`sending ${megabytes(sentBytes)} of ${megabytes(totalBytes)} MB`);
        told = now;
      }
      await limited(conversation.write(chunk), limit);
      sentBytes += chunk.length;
    }
    progress?.(`checking the ${megabytes(totalBytes)} MB that were sent`);
    conversation.end();
  } catch (error) {
    // Who takes no more has something to say why.
    if (!isMeshError(error, "LINK_CLOSED")) throw error;
  }
  return sentBytes;
}

async function* chunksOf(path: string): AsyncGenerator<Uint8Array> {
  const file = Bun.file(path);
  for (let at = 0; at < file.size; at += CHUNK_BYTES) yield await file.slice(at, at + CHUNK_BYTES).bytes();
}

async function collect({ stdout }: Conversation): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stdout) {
    bytes += chunk.length;
    if (bytes <= OUTPUT_LIMIT_BYTES) chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const KINDS: readonly string[] = ["storage", "noexec", "unfit", "cut", "altered"] satisfies UploadFailure["kind"][];

function failureIn(answers: [word: string, rest: string][]): UploadFailure | undefined {
  const told = answers.find(([word]) => word === "failed")?.[1];
  if (told === undefined) return undefined;
  const [kind = "", ...words] = told.split(" ");
  return { kind: KINDS.includes(kind) ? (kind as UploadFailure["kind"]) : "cut", words: words.join(" ") };
}

function noAnswer(label: string, stderr: string): MeshError {
  const printed = wordsOf(stderr);
  const words = printed ? `it printed: ${printed}` : "it printed nothing; `dd` must be in its PATH";
  return new MeshError(
    "LINK_CLOSED",
    `${label}: the upload of the binary ended without an answer: ${words}; try again`,
  );
}

/** For people. */
export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 10e6 ? 1 : 0);
}
