// Commands that users run on a worker by `mesh exec`: each a process tree of its own, which ends with its asker at the
// latest. Loaded with the first one.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import { homeFolder } from "../files/root.ts";
import type { Log } from "../log.ts";
import type { Node } from "../node/node.ts";
import { checkBody } from "../wire/body-checks.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import { type CommandEnd, type ExecOutput, exec, execInput, execStop } from "./command-bodies.ts";
import { CommandProcess, launchOf } from "./command-process.ts";
import { RUN_FOLDER } from "./guard.ts";
import type { Nursery } from "./nursery.ts";

export interface CommandsOptions {
  node: Node;
  nursery: Nursery;
  /** The run folder of the worker. */
  folder: string;
  log: Log;
}

/** In the environment of a command, and so of what it starts. */
const COMMAND = "MESH_COMMAND";
/** What a command gets to end by itself when its asker is gone, and when the worker ends. */
const LOST_GRACE_MS = 1_000;
const CLOSING_GRACE_MS = 300;

interface Running {
  process: CommandProcess;
  asker: Address;
  /** Resolves when nothing of it is left. */
  over: PromiseWithResolvers<void>;
}

export class Commands {
  readonly #options: CommandsOptions;
  readonly #running = new Map<string, Running>();
  #started = 0;

  constructor(options: CommandsOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#running.size;
  }

  /** Runs a command to its end; resolves when nothing of it is left and all it printed was taken. */
  async run(body: unknown, asker: Address): Promise<CommandEnd> {
    const { command, words, script, readsInput } = checkBody(exec, "exec", body);
    const key = keyOf(asker, command);
    if (this.#running.has(key)) throw new MeshError("PROTOCOL", `command ${command} of this asker runs already`);
    const { folder, nursery, log } = this.#options;
    const place = join(folder, `command-${++this.#started}`);
    const mark = `${COMMAND}=${place}`;
    const over = Promise.withResolvers<void>();
    nursery.spare(mark);
    try {
      const argv = script === undefined ? words : launchOf(layDown(place, script), script, words);
      const process = CommandProcess.start({ argv, readsInput, env: this.#environment(place), cwd: homeFolder() });
      if (!(process instanceof CommandProcess)) return process;
      nursery.keep(process.pid);
      this.#running.set(key, { process, asker, over });
      log.info("command begins", { command: argv[0] ?? "", pid: process.pid, asker: asker.node });
      const printed = process.output((stream, bytes) => this.#output(asker, { command, stream, bytes }));
      const end = await process.ended;
      nursery.release(process.pid);
      await nursery.sweepMarked(mark);
      await printed;
      return end;
    } finally {
      this.#running.delete(key);
      await nursery.sweepMarked(mark);
      rmSync(place, { recursive: true, force: true });
      over.resolve();
    }
  }

  async input(body: unknown, asker: Address): Promise<void> {
    const { command, bytes } = checkBody(execInput, "execInput", body);
    const running = this.#running.get(keyOf(asker, command));
    if (!running) throw new MeshError("CLOSED", "the command is over and reads nothing any more");
    await running.process.input(bytes);
  }

  stop(body: unknown, asker: Address): void {
    const { command, signal, graceMs } = checkBody(execStop, "execStop", body);
    void this.#running.get(keyOf(asker, command))?.process.end(signal, graceMs);
  }

  /** A node is gone: so are its commands, soon. */
  askerLost(node: number): void {
    for (const { process, asker } of this.#running.values()) {
      if (asker.node !== node) continue;
      process.abandon();
      void process.end("SIGTERM", LOST_GRACE_MS);
    }
  }

  /** Ends all; returns when nothing of them is left. */
  async closeAll(): Promise<void> {
    await Promise.all(
      [...this.#running.values()].map(async ({ process, over }) => {
        process.abandon();
        await process.end("SIGTERM", CLOSING_GRACE_MS);
        await over.promise;
      }),
    );
  }

  async #output(asker: Address, output: ExecOutput): Promise<void> {
    await this.#options.node.request(asker, MessageType.execOutput, output);
  }

  #environment(place: string): Record<string, string | undefined> {
    return { ...process.env, [RUN_FOLDER]: this.#options.folder, [COMMAND]: place, MESH_TOKEN: undefined };
  }
}

function layDown(place: string, script: Uint8Array): string {
  try {
    mkdirSync(place, { mode: 0o700 });
    const path = join(place, "script");
    writeFileSync(path, script, { mode: 0o700 });
    return path;
  } catch (cause) {
    throw new MeshError("STORAGE", `the script cannot be written to ${place}: ${(cause as Error).message}`, { cause });
  }
}

function keyOf({ node, slot }: Address, command: number): string {
  return `${node}/${slot}/${command}`;
}
