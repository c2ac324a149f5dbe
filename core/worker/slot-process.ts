// One slot as its agent sees it: a child process with a status page, two streams of output and, at last, a cause of death.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../clock.ts";
import type { Address } from "../wire/message.ts";
import { memoryLimiter, type SlotGroup } from "./cgroup.ts";
import { slotPage, slotSocket } from "./control.ts";
import { causeOf, type Death } from "./death.ts";
import { RUN_FOLDER } from "./guard.ts";
import { LineSplitter } from "./lines.ts";
import { watchMemory } from "./memory-watch.ts";
import { endTree, kernelOomKills } from "./process-tree.ts";
import type { Waiting } from "./recall-board.ts";
import { type RunningItem, StatusPage } from "./status-page.ts";

export type OutputStream = "stdout" | "stderr";

export interface SlotProcessOptions {
  folder: string;
  /** The number of the node it belongs to. */
  node: number;
  slot: number;
  /** 0 for the slot of the script. */
  seat: number;
  /** The command that makes a process a slot; folder, node, slot and our process id are added. */
  command: readonly string[];
  stdin: "inherit" | "ignore";
  /** Takes bytes, of slots in whole lines; reading goes on when the promise resolves. */
  output(stream: OutputStream, bytes: Uint8Array): Promise<void>;
}

export class SlotProcess {
  readonly slot: number;
  readonly seat: number;
  readonly pid: number;
  /** Resolves with the cause when the process is gone; its output may still be on its way. */
  readonly died: Promise<Death>;
  /** Resolves when all its output was handed on. */
  readonly drained: Promise<unknown>;
  readonly #folder: string;
  readonly #page: StatusPage;
  readonly #process: Bun.Subprocess;
  #ordered: Death | undefined;
  #stopWatching: () => void = () => {};
  #group: SlotGroup | undefined;

  constructor(options: SlotProcessOptions) {
    const { folder, node, slot, seat, command, stdin, output } = options;
    this.slot = slot;
    this.seat = seat;
    this.#folder = folder;
    this.#page = StatusPage.create(join(folder, slotPage(slot)));
    const oomKillsBefore = kernelOomKills();
    const child = Bun.spawn([...command, folder, String(node), String(slot), String(process.pid)], {
      env: { ...process.env, [RUN_FOLDER]: folder, MESH_TOKEN: undefined }, // a token that was meant for us
      detached: true, // a session of its own: the terminal's signals go to the head alone
      stdio: [stdin, "pipe", "pipe"],
      lazy: true, // otherwise output that nobody takes fills our memory
    });
    this.#process = child;
    this.pid = child.pid;
    this.died = child.exited.then(() => {
      this.#stopWatching();
      const { exitCode } = child;
      const { signalCode } = this;
      const kernelOom = { before: oomKillsBefore, after: kernelOomKills() };
      // The kernel ends what is over the limit of its group by SIGKILL, as we do.
      const known = this.#ordered ?? (signalCode === "SIGKILL" ? this.#group?.death() : undefined);
      void this.#group?.remove(systemClock);
      return causeOf({ exitCode, signalCode, ...(known && { ordered: known }), kernelOomKills: kernelOom });
    });
    const pass = seat === 0 ? passBytes : passLines;
    this.drained = Promise.allSettled([
      pass(child.stdout, (bytes) => output("stdout", bytes)),
      pass(child.stderr, (bytes) => output("stderr", bytes)),
    ]);
  }

  /** What it does now, or did when it died. */
  get running(): RunningItem[] {
    return this.#page.read();
  }

  /** As Recalls.recall. */
  recall(owner: Address, waiting: readonly Waiting[]): number[] {
    return this.#page.recalls.recall(owner, waiting);
  }

  /** Whether it ever began an item. */
  get wasUsed(): boolean {
    return this.#page.wasUsed;
  }

  /** The status the script ended with. */
  get exitCode(): number | null {
    return this.#process.exitCode;
  }

  get signalCode(): NodeJS.Signals | null {
    return this.#process.signalCode as NodeJS.Signals | null;
  }

  /**
   * Ends it for good when it and what it started use more memory than this: by the kernel where we may make cgroups, and by
   * looking in any case.
   */
  limitMemory(limitBytes: number): void {
    this.#group = memoryLimiter().limit(this.pid, this.slot, limitBytes);
    this.#stopWatching = watchMemory({
      pid: this.pid,
      limitBytes,
      clock: systemClock,
      onExceeded: (usedBytes) => void this.end({ kind: "out-of-memory", by: "mesh", usedBytes, limitBytes }),
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Ends it and what it started, for the reason given; the first reason counts. */
  async end(reason: Death, graceMs = 0): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#ordered ??= reason;
    await endTree(this.pid, { graceMs, clock: systemClock });
  }

  /** Removes its files. */
  cleanUp(): void {
    for (const name of [slotSocket(this.slot), slotPage(this.slot)]) rmSync(join(this.#folder, name), { force: true });
  }
}

async function passBytes(
  stream: ReadableStream<Uint8Array>,
  take: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  for await (const chunk of stream) await take(chunk);
}

async function passLines(
  stream: ReadableStream<Uint8Array>,
  take: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const splitter = new LineSplitter();
  for await (const chunk of stream) await takeLines(splitter.push(chunk), take);
  await takeLines(splitter.end(), take);
}

const NEWLINE = new Uint8Array([10]);

async function takeLines(lines: Uint8Array[], take: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  if (lines.length > 0) await take(Buffer.concat(lines.flatMap((line) => [line, NEWLINE])));
}
