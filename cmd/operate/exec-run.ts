// One command on many workers at once: begins it, hands on what it prints, gives it to read, ends it, and tells how it ended.
import type { NodeStatus } from "../../core/coordinator/answers.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { MeshError } from "../../core/errors.ts";
import type { Node } from "../../core/node/node.ts";
import type { Address } from "../../core/wire/message.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import type { CommandEnd, Exec, ExecInput, ExecOutput, ExecStop } from "../../core/worker/command-bodies.ts";

/** How it ended on one host: by itself, or with the host. */
export type ExecOutcome = { host: string } & (
  | { end: CommandEnd; error?: undefined }
  | { end?: undefined; error: MeshError }
);

export interface ExecOrder {
  words: string[];
  script?: Uint8Array;
  /** What all of them read. */
  input?: AsyncIterable<Uint8Array>;
}

export interface ExecEvents {
  /** Whole or not, in order for each host and stream; more comes when the promise resolves. */
  printed(host: string, stream: ExecOutput["stream"], bytes: Uint8Array): Promise<void>;
  ended(outcome: ExecOutcome): void;
}

/** A client's node asks each worker for one command. */
const COMMAND = 1;
/** The largest piece of input in one message. */
const INPUT_BYTES = 256 * 1024;
/** What commands get to end by themselves when they are stopped. */
const STOP_GRACE_MS = 5_000;

/**
 * Resolves when the command is over everywhere, and with it all it started. `stop` ends it: its reason is the signal
 * that is sent. Lost hosts are outcomes too.
 */
export async function execOn(
  client: MeshClient,
  workers: readonly NodeStatus[],
  order: ExecOrder,
  events: ExecEvents,
  stop: AbortSignal,
): Promise<ExecOutcome[]> {
  const { node } = client;
  const running = new Map(workers.map((worker) => [worker.node, worker]));
  node.handleRequest(MessageType.execOutput, async ({ stream, bytes }: ExecOutput, from) => {
    const worker = running.get(from.node);
    if (worker) await events.printed(worker.name, stream, bytes);
  });
  const isThere = workers.filter(({ state }) => state !== "down");
  await client.meet(isThere);
  const end = () => {
    for (const to of running.keys()) stopCommand(node, addressOf(to), stop.reason as ExecStop["signal"]);
  };
  const outcomes = workers.map(async (worker): Promise<ExecOutcome> => {
    const outcome = await execOnOne(node, worker, order);
    running.delete(worker.node);
    events.ended(outcome);
    return outcome;
  });
  stop.addEventListener("abort", end, { once: true });
  if (stop.aborted) end();
  if (order.input) void feed(node, running, order.input);
  try {
    return await Promise.all(outcomes);
  } finally {
    stop.removeEventListener("abort", end);
  }
}

async function execOnOne(node: Node, worker: NodeStatus, order: ExecOrder): Promise<ExecOutcome> {
  const { name: host } = worker;
  if (worker.state === "down") {
    return { host, error: new MeshError("UNREACHABLE", `${host} is down: see \`mesh status\``) };
  }
  const { words, script, input } = order;
  const body: Exec = {
    command: COMMAND,
    words,
    readsInput: input !== undefined,
    // A Buffer travels as plain bytes.
    ...(script && { script: Buffer.from(script) }),
  };
  try {
    return { host, end: (await node.request(addressOf(worker.node), MessageType.exec, body)) as CommandEnd };
  } catch (cause) {
    return { host, error: lostError(host, cause) };
  }
}

function lostError(host: string, cause: unknown): MeshError {
  if (!(cause instanceof MeshError)) throw cause;
  if (cause.code !== "LINK_CLOSED") return cause;
  const { message } = cause.cause instanceof Error ? cause.cause : cause;
  return new MeshError("LINK_CLOSED", `${host} was lost: ${message}`, { cause });
}

function stopCommand(node: Node, to: Address, signal: ExecStop["signal"]): void {
  const body: ExecStop = { command: COMMAND, signal, graceMs: STOP_GRACE_MS };
  node.notify(to, MessageType.execStop, body);
}

/** Gives everybody the same to read, at the pace of the slowest. */
async function feed(
  node: Node,
  running: ReadonlyMap<number, NodeStatus>,
  input: AsyncIterable<Uint8Array>,
): Promise<void> {
  const send = async (bytes?: Uint8Array) => {
    const body: ExecInput = { command: COMMAND, ...(bytes && { bytes: Buffer.from(bytes) }) };
    // One that is over reads no more; how it ended is told elsewhere.
    await Promise.all(
      [...running.keys()].map((to) => node.request(addressOf(to), MessageType.execInput, body).catch(() => {})),
    );
  };
  for await (const chunk of input) {
    for (let at = 0; at < chunk.length && running.size > 0; at += INPUT_BYTES) {
      await send(chunk.subarray(at, at + INPUT_BYTES));
    }
    if (running.size === 0) return;
  }
  await send();
}

function addressOf(node: number): Address {
  return { node, slot: 0 };
}
