// One command of a user on a worker, as a process: what starts it, what it prints and reads, how it ends.
import { accessSync, constants } from "node:fs";
import { constants as system } from "node:os";
import { systemClock } from "../clock.ts";
import type { CommandEnd } from "./command-bodies.ts";
import { endTree } from "./process-tree.ts";
import type { OutputStream } from "./slot-process.ts";

export interface CommandOptions {
  argv: readonly string[];
  readsInput: boolean;
  env: Record<string, string | undefined>;
  cwd: string;
}

/** So much of a stream may be on its way to who reads it. */
const AHEAD_BYTES = 1024 * 1024;

const SHEBANG_LIMIT_BYTES = 256;
/** A program in machine code, as Linux knows it. */
const ELF = [0x7f, 0x45, 0x4c, 0x46];

/**
 * The command line that runs the script at `path`: by the interpreter its first line names, by sh when it names none. Not by
 * executing the file: it may lie on a disk that is mounted without that.
 */
export function launchOf(path: string, script: Uint8Array, words: readonly string[]): string[] {
  if (ELF.every((byte, at) => script[at] === byte)) return [path, ...words];
  const line = new TextDecoder().decode(script.subarray(0, SHEBANG_LIMIT_BYTES)).split("\n", 1)[0]!;
  const [, interpreter, argument] = /^#![ \t]*(\S+)(?:[ \t]+(\S.*?))?[ \t\r]*$/.exec(line) ?? [];
  if (interpreter === undefined) return ["sh", path, ...words];
  return [interpreter, ...(argument === undefined ? [] : [argument]), path, ...words];
}

export class CommandProcess {
  readonly pid: number;
  readonly ended: Promise<CommandEnd>;
  readonly #child: Bun.Subprocess;
  readonly #abandoned = Promise.withResolvers<void>();
  #isAbandoned = false;

  private constructor(child: Bun.Subprocess) {
    this.#child = child;
    this.pid = child.pid;
    this.ended = child.exited.then(() => endOf(child));
  }

  /** Starts it in a session of its own; says what is wrong when that fails. */
  static start({ argv, readsInput, env, cwd }: CommandOptions): CommandProcess | CommandEnd {
    const [program] = argv;
    if (!program) return { exitCode: 127, problem: "there is no command to run" };
    try {
      const child = Bun.spawn([...argv], {
        cwd,
        env,
        detached: true,
        stdio: [readsInput ? "pipe" : "ignore", "pipe", "pipe"],
        lazy: true, // otherwise output that nobody takes fills our memory
      });
      return new CommandProcess(child);
    } catch (error) {
      return notStarted(program, cwd, error as NodeJS.ErrnoException);
    }
  }

  /** Hands on what it prints, with at most AHEAD_BYTES of each stream not taken; resolves when all of it was. */
  async output(take: (stream: OutputStream, bytes: Uint8Array) => Promise<void>): Promise<void> {
    const { stdout, stderr } = this.#child as Bun.Subprocess<"pipe", "pipe", "pipe">;
    const all = Promise.all([
      this.#pass(stdout, (bytes) => take("stdout", bytes)),
      this.#pass(stderr, (bytes) => take("stderr", bytes)),
    ]);
    await Promise.race([all, this.#abandoned.promise]);
  }

  /** Gives it something to read; without bytes, the end. Resolves when there is room for more. */
  async input(bytes: Uint8Array | undefined): Promise<void> {
    const { stdin } = this.#child;
    if (!stdin || typeof stdin === "number") return;
    // One that does not read any more may still do something.
    try {
      if (bytes) stdin.write(bytes);
      await (bytes ? stdin.flush() : stdin.end());
    } catch {}
  }

  /** Nobody reads what it prints any more. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#abandoned.resolve();
  }

  /** Ends it and all it started: by `signal`, and by SIGKILL when the grace is over. */
  async end(signal: NodeJS.Signals, graceMs: number): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    await endTree(this.pid, { graceMs: signal === "SIGKILL" ? 0 : graceMs, signal, clock: systemClock });
  }

  async #pass(stream: ReadableStream<Uint8Array>, take: (bytes: Uint8Array) => Promise<void>): Promise<void> {
    let aheadBytes = 0;
    let room = Promise.withResolvers<void>();
    const underWay = new Set<Promise<void>>();
    for await (const chunk of stream) {
      if (this.#isAbandoned) continue; // read on, so that it can end by itself
      aheadBytes += chunk.length;
      const taken: Promise<void> = take(chunk)
        .catch(() => this.abandon())
        .finally(() => {
          aheadBytes -= chunk.length;
          underWay.delete(taken);
          room.resolve();
        });
      underWay.add(taken);
      while (aheadBytes >= AHEAD_BYTES) {
        room = Promise.withResolvers();
        await room.promise;
      }
    }
    await Promise.all(underWay);
  }
}

function endOf(child: Bun.Subprocess): CommandEnd {
  const signal = child.signalCode as NodeJS.Signals | null;
  if (signal) return { exitCode: 128 + (system.signals[signal] ?? 0), signal };
  return { exitCode: child.exitCode ?? 0 };
}

function notStarted(program: string, cwd: string, { code, message }: NodeJS.ErrnoException): CommandEnd {
  if (!isReadable(cwd)) return { exitCode: 126, problem: `the home folder ${cwd} cannot be entered` };
  if (code === "ENOENT") return { exitCode: 127, problem: `${program}: command not found` };
  if (code === "EACCES") return { exitCode: 126, problem: `${program}: it may not be executed` };
  return { exitCode: 126, problem: `${program}: ${message}` };
}

function isReadable(folder: string): boolean {
  try {
    accessSync(folder, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
