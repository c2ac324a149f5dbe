// The side of `mesh up` in the conversation with `mesh host` (host-words.ts).
import { isMeshError, MESH_ERROR_CODES, MeshError, type MeshErrorCode } from "../errors.ts";
import type { Joined } from "../identity/join.ts";
import { type Certificate, HOST_WORDS_VERSION, type HostWord, type Order } from "./host-words.ts";
import { limited } from "./limited.ts";
import { linesOf } from "./lines.ts";
import { wordsOf } from "./remote-script.ts";
import type { Conversation } from "./shell.ts";

/** A host says something every few seconds, whatever it does. */
const SILENCE_LIMIT_MS = 30_000;
/** From its last word to the end of its process. */
const END_LIMIT_MS = 5_000;

export interface HostTalkOptions {
  /** For people and errors: "alice@10.0.0.5". */
  label: string;
  /** Gets the certificate for the key the host made. */
  certify(publicKey: Uint8Array): Promise<Joined>;
  /** What is going on, for people. */
  progress?(text: string): void;
  /**
   * The worker there has not reached the coordinator, and takes a tunnel if one is laid to that path. What it rejects with is thrown.
   * Default: rejects with `why`.
   */
  unreached?(tunnel: string, why: MeshError): Promise<void>;
  /** Ends the conversation; the host then undoes what it has begun. */
  signal?: AbortSignal;
}

/** The host's answer to each order. */
export type HostAnswer<Op extends Order["op"]> = Extract<
  HostWord,
  { word: { start: "started"; stop: "stopped"; list: "workers"; coordinate: "coordinates"; dial: "dialed" }[Op] }
>;

/**
 * Gives an order to `mesh host` at the other end of `conversation`, and ends that. Throws what the host says when it failed;
 * UNREACHABLE when the binary there cannot be run, PROTOCOL when it is of another build, LINK_CLOSED when the connection broke,
 * TIMEOUT when it says nothing for 30 s, CANCELLED.
 */
export async function talkToHost<Op extends Order["op"]>(
  conversation: Conversation,
  order: Extract<Order, { op: Op }>,
  options: HostTalkOptions,
): Promise<HostAnswer<Op>> {
  try {
    await say(conversation, order, options);
    return (await converse(conversation, options)) as HostAnswer<Op>;
  } finally {
    // Its input at an end, the host undoes what is not done. When it has ended, nothing of that is left there.
    conversation.end();
    await limited(conversation.ended, { ms: END_LIMIT_MS, what: "its end" }).catch(() => {});
    conversation.kill();
  }
}

async function converse(conversation: Conversation, options: HostTalkOptions): Promise<HostWord> {
  const { label, certify, progress, signal } = options;
  const lines = linesOf(conversation.stdout)[Symbol.asyncIterator]();
  for (;;) {
    const limit = { ms: SILENCE_LIMIT_MS, signal, what: `${label}: waiting for mesh there` };
    const { done, value } = await limited(lines.next(), limit);
    if (done) throw await ended(conversation, label);
    const word = hostWord(value, label);
    if (!word) continue;
    if (word.word === "progress") progress?.(word.text);
    else if (word.word === "failed") throw failed(word);
    else if (word.word === "unreached") await unreached(word, options);
    else if (word.word !== "certify") return word;
    else {
      const joined = await certify(Buffer.from(word.publicKey, "base64"));
      await say(conversation, { joined } satisfies Certificate, options);
    }
  }
}

async function unreached(word: Extract<HostWord, { word: "unreached" }>, options: HostTalkOptions): Promise<void> {
  if (!options.unreached) throw failed(word);
  await options.unreached(word.tunnel, failed(word));
}

async function say(conversation: Conversation, words: object, { label, signal }: HostTalkOptions): Promise<void> {
  const line = `${JSON.stringify({ mesh: HOST_WORDS_VERSION, ...words })}\n`;
  try {
    const limit = { ms: SILENCE_LIMIT_MS, signal, what: `${label}: talking to mesh there` };
    await limited(conversation.write(Buffer.from(line)), limit);
  } catch (error) {
    if (!isMeshError(error, "LINK_CLOSED")) throw error;
    // It is over; converse tells how it ended.
  }
}

/** Undefined for what is none of ours. Throws PROTOCOL for a word of another version. */
function hostWord(line: string, label: string): HostWord | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const word = JSON.parse(line) as HostWord & { mesh?: unknown };
    if (word.mesh === HOST_WORDS_VERSION) return word;
    if (typeof word.mesh !== "number") return undefined;
  } catch {
    return undefined;
  }
  throw new MeshError("PROTOCOL", `${label}: mesh there is of another build: run \`mesh up\` again with this one`);
}

function failed({ code, message }: { code: string; message: string }): MeshError {
  const known = MESH_ERROR_CODES.includes(code as MeshErrorCode) ? (code as MeshErrorCode) : "UNREACHABLE";
  return new MeshError(known, message);
}

async function ended(conversation: Conversation, label: string): Promise<MeshError> {
  const limit = { ms: END_LIMIT_MS, what: `${label}: the end of mesh there` };
  const { status, signal } = await limited(conversation.ended, limit).catch(() => ({ status: undefined, signal: "" }));
  const printed = wordsOf(conversation.stderr);
  const words = printed ? `, and printed: ${printed}` : "";
  if (status === 126 || status === 127) {
    const message = `${label}: the binary cannot be run there (status ${status})${words}`;
    return new MeshError("UNREACHABLE", `${message}; run \`mesh up\` again: it looks at the binary anew`);
  }
  const how = status === undefined ? `was cut off${signal ? ` (${signal})` : ""}` : `ended with status ${status}`;
  return new MeshError(
    "LINK_CLOSED",
    `${label}: the conversation with mesh there ${how} before its answer${words}; try again`,
  );
}
