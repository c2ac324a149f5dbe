// `mesh host`: what `mesh up` and `mesh down` talk to on a host, over their login there. Not for people.
import { dialAll } from "../../core/bootstrap/host-dial.ts";
import { failureOf } from "../../core/bootstrap/host-process.ts";
import { type HostPort, startWorker } from "../../core/bootstrap/host-start.ts";
import { findWorkers, stopWorker } from "../../core/bootstrap/host-stop.ts";
import { type Certificate, HOST_WORDS_VERSION, type HostWord, type Order } from "../../core/bootstrap/host-words.ts";
import { linesOf } from "../../core/bootstrap/lines.ts";
import { MeshError } from "../../core/errors.ts";
import { tryDial } from "../../transports/try-address.ts";
import { ownCommand } from "../own-command.ts";
import { coordinate } from "./host-coordinator.ts";
import { buildName } from "./node-process.ts";

/** The other side may be busy giving certificates to a hundred hosts. */
const CERTIFICATE_LIMIT_MS = 60_000;
/** The other side gives up a host that is silent for longer. */
const WORD_EVERY_MS = 5_000;

/** Serves one order from standard input. Its outcome goes to standard output; the exit status says nothing more. */
export async function main(): Promise<number> {
  // Who asked may go at any time: what was begun is then undone, and nobody is left to tell.
  process.stdout.on("error", () => {});
  process.stderr.on("error", () => {});
  const gone = new AbortController();
  for (const signal of ["SIGHUP", "SIGTERM", "SIGINT"] as const) process.on(signal, () => gone.abort());
  const lines = new Lines(gone);
  try {
    say(await serve(await lines.next<Order>(CERTIFICATE_LIMIT_MS), portOf(lines, gone.signal)));
  } catch (error) {
    say({ word: "failed", ...failureOf(error) });
  }
  return 0;
}

async function serve(order: Order, port: HostPort): Promise<HostWord> {
  const alive = setInterval(() => port.progress(), WORD_EVERY_MS);
  try {
    if (order.op === "start") return await startWorker(order, port);
    if (order.op === "stop") return await stopWorker(order, port);
    if (order.op === "dial") return await dialAll(order, port);
    if (order.op === "coordinate") return await coordinate(order, port);
    return { word: "workers", workers: findWorkers(order.meshName) };
  } finally {
    clearInterval(alive);
  }
}

function portOf(lines: Lines, signal: AbortSignal): HostPort {
  let last = "at work";
  let isUnreached = false;
  return {
    signal,
    build: buildName(),
    command: ownCommand,
    dial: tryDial,
    progress: (text) => {
      if (text !== last) say({ word: "progress", text: text ?? last });
      last = text ?? last;
    },
    unreached: (tunnel, why) => {
      if (!isUnreached) say({ word: "unreached", tunnel, ...why });
      isUnreached = true;
    },
    certify: async (publicKey) => {
      say({ word: "certify", publicKey: Buffer.from(publicKey).toString("base64") });
      return (await lines.next<Certificate>(CERTIFICATE_LIMIT_MS)).joined;
    },
  };
}

function say(word: HostWord): void {
  process.stdout.write(`${JSON.stringify({ mesh: HOST_WORDS_VERSION, ...word })}\n`);
}

/** What the other side says. Its end is the end of everything that is not done by then. */
class Lines {
  readonly #waiting: ((line: string | undefined) => void)[] = [];
  readonly #ready: (string | undefined)[] = [];

  constructor(gone: AbortController) {
    void this.#read().finally(() => gone.abort());
  }

  async next<Words>(limitMs: number): Promise<Words> {
    const line = this.#ready.length > 0 ? this.#ready.shift() : await this.#wait(limitMs);
    const words = parsed(line);
    if (words?.mesh === HOST_WORDS_VERSION) return words as Words;
    if (line === undefined) throw new MeshError("CANCELLED", "who started `mesh host` is gone");
    throw new MeshError("PROTOCOL", "`mesh host` is for `mesh up` of the same build: it got what it does not know");
  }

  async #wait(limitMs: number): Promise<string | undefined> {
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    this.#waiting.push(resolve);
    const timer = setTimeout(() => resolve(undefined), limitMs);
    return await promise.finally(() => clearTimeout(timer));
  }

  async #read(): Promise<void> {
    for await (const line of linesOf(Bun.stdin.stream())) this.#take(line);
    this.#take(undefined);
  }

  #take(line: string | undefined): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(line);
    else this.#ready.push(line);
  }
}

function parsed(line: string | undefined): { mesh?: unknown } | undefined {
  try {
    return JSON.parse(line ?? "null");
  } catch {
    return undefined;
  }
}
