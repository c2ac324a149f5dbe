// `mesh run` itself: starts the head of the job, prepares the script's code meanwhile, shows what comes back, and passes
// signals on. It runs no user code, so it always answers.
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { MeshError } from "../errors.ts";
import { Node } from "../node/node.ts";
import { newNodeNumber } from "../node/number.ts";
import type { Transport } from "../transport.ts";
import { Codec } from "../wire/codec.ts";
import { MessageType } from "../wire/message-types.ts";
import {
  type JobEnded,
  nodeAddress,
  type Output,
  type Progress,
  type StartJob,
  type StopJob,
  TERMINAL_SOCKET,
  terminalOf,
} from "../worker/control.ts";
import { causeOf, describeDeath } from "../worker/death.ts";
import { becomeSubreaper } from "../worker/libc.ts";
import { sweepStrays } from "../worker/process-tree.ts";
import { makeRunFolder, removeRunFolder } from "../worker/run-folder.ts";

/** Where a job's output goes. */
export interface JobTerminal {
  /** The script's own output, byte by byte. Resolves when it is really out. */
  driver(stream: "stdout" | "stderr", bytes: Uint8Array): Promise<void>;
  /** Whole lines of a slot. */
  slot(stream: "stdout" | "stderr", label: string, lines: Uint8Array): Promise<void>;
  /** A message of mesh itself. */
  notice(text: string): Promise<void>;
  progress(state: Progress | undefined): void;
}

export interface JobOptions {
  script: string;
  args: string[];
  transport: Transport;
  terminal: JobTerminal;
  /** Slots that tasks get by default. */
  slots: number;
  slotMemoryBytes: number | undefined;
  /** Whether progress of long calls is worth telling. */
  showsProgress: boolean;
  /** The command that makes a process a head; folder, node and our process id are added. */
  headCommand: readonly string[];
  /** Names that "mesh" exports. */
  apiExports: readonly string[];
  /** Other children of this process, that are not the job's. */
  keep?: ReadonlySet<number>;
}

const HEAD_START_LIMIT_MS = 10_000;
const STOP_LIMIT_MS = 3_000;

/** A job that runs. End it by `dispose` in every case: that leaves no process and no file. */
export class Launcher {
  readonly #options: JobOptions;
  readonly #folder: string;
  readonly #head = nodeAddress(newNodeNumber());
  readonly #node = new Node(terminalOf(this.#head.node), new Codec());
  readonly #ended = Promise.withResolvers<JobEnded>();
  readonly #joined = Promise.withResolvers<void>();
  #process: Bun.Subprocess | undefined;
  #stopping = 0;
  #output = Promise.resolve();

  constructor(options: JobOptions) {
    this.#options = options;
    this.#folder = makeRunFolder();
    this.#joined.promise.catch(() => {});
    this.#ended.promise.catch(() => {});
    becomeSubreaper();
  }

  /**
   * Runs the script to its end. Throws SCRIPT or CANNOT_TRAVEL when it cannot be prepared, LINK_CLOSED when the head
   * dies, CANCELLED when it was stopped before it began.
   */
  async run(): Promise<JobEnded> {
    await this.#listen();
    this.#startHead();
    const job = await this.#prepare();
    await Promise.race([this.#joined.promise, this.#ended.promise]);
    if (this.#stopping === 0) await this.#node.request(this.#head, MessageType.startJob, job);
    const ended = await this.#ended.promise;
    await this.#output;
    return ended;
  }

  /** First call: the script gets the signal and 1.5 s. Second call: everything ends at once. */
  stop(signal: NodeJS.Signals): void {
    const now = ++this.#stopping > 1;
    const stop: StopJob = { signal, now };
    if (!this.#node.hasPeer(this.#head)) {
      this.#ended.reject(new MeshError("CANCELLED", `stopped by ${signal} before the script began`));
      return;
    }
    this.#node.request(this.#head, MessageType.stopJob, stop, { timeoutMs: STOP_LIMIT_MS }).catch(() => this.#kill());
  }

  /** Ends what is left and removes the folder. */
  async dispose(): Promise<void> {
    if (this.#process && this.#process.exitCode === null && this.#process.signalCode === null) {
      if (this.#node.hasPeer(this.#head)) this.#node.close();
      else this.#process.kill("SIGTERM"); // it has no link yet whose end it would see
      await Promise.race([this.#process.exited, Bun.sleep(STOP_LIMIT_MS)]);
      this.#kill();
      await this.#process.exited;
    }
    await sweepStrays(this.#options.keep ?? new Set());
    removeRunFolder(this.#folder);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #kill(): void {
    this.#process?.kill("SIGKILL");
  }

  async #listen(): Promise<void> {
    const node = this.#node;
    const { terminal } = this.#options;
    node.handleRequest(MessageType.output, (output: Output) => this.#show(output));
    node.handle(
      MessageType.notice,
      ({ payload }) => void terminal.notice((node.codec.decode(payload) as { text: string }).text),
    );
    node.handle(MessageType.progress, ({ payload }) =>
      terminal.progress((node.codec.decode(payload) as Progress | null) ?? undefined),
    );
    node.handle(MessageType.jobEnded, ({ payload }) => this.#ended.resolve(node.codec.decode(payload) as JobEnded));
    await this.#options.transport.listen(join(this.#folder, TERMINAL_SOCKET), (link) =>
      node.accept(link, () => this.#joined.resolve()),
    );
  }

  #startHead(): void {
    const head = Bun.spawn([...this.#options.headCommand, this.#folder, String(this.#head.node), String(process.pid)], {
      env: process.env,
      detached: true, // the terminal's signals come to us alone
      stdio: ["inherit", "inherit", "inherit"],
    });
    this.#process = head;
    const late = new MeshError("TIMEOUT", `the head of the job did not start within ${HEAD_START_LIMIT_MS} ms`);
    const timer = setTimeout(() => this.#ended.reject(late), HEAD_START_LIMIT_MS);
    void this.#joined.promise.finally(() => clearTimeout(timer));
    void head.exited.then(() => {
      clearTimeout(timer);
      const { exitCode } = head;
      const cause = describeDeath(causeOf({ exitCode, signalCode: head.signalCode as string | null }));
      this.#ended.reject(new MeshError("LINK_CLOSED", `the head of the job ${cause}; the job ended with it`));
    });
  }

  /** Builds the bundles and lays them where slots find them. */
  async #prepare(): Promise<StartJob> {
    const { script, args, slots, slotMemoryBytes, showsProgress, apiExports } = this.#options;
    const { buildJob } = await import("./build.ts");
    const bundle = await buildJob({ script, apiExports });
    const driver = join(this.#folder, "driver.js");
    const worker = join(this.#folder, "worker.js");
    layDown(driver, bundle.driver);
    layDown(worker, bundle.worker);
    return {
      driver,
      worker,
      script: resolve(script),
      args,
      slots,
      ...(slotMemoryBytes !== undefined && { slotMemoryBytes }),
      eager: bundle.usesMesh,
      showsProgress,
    };
  }

  /** Shows output in the order it came; its sender may send more when that resolves. */
  #show({ seat, host, stream, bytes }: Output): Promise<void> {
    const { terminal } = this.#options;
    const shown = this.#output.then(() =>
      seat === 0 ? terminal.driver(stream, bytes) : terminal.slot(stream, `${host}/${seat}`, bytes),
    );
    this.#output = shown.catch(() => {});
    return shown;
  }
}

function layDown(path: string, text: string): void {
  try {
    writeFileSync(path, text, { mode: 0o600 });
  } catch (cause) {
    const message = `cannot write the job's code to ${path}: ${(cause as Error).message}; make room there, or set XDG_RUNTIME_DIR to another folder`;
    throw new MeshError("UNREACHABLE", message, { cause });
  }
}
