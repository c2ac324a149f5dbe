// What a command that asks a mesh finds around it: the mesh, where to print, time, signals, its user. A value, so that
// tests hand in others.
import { createInterface } from "node:readline/promises";
import { isatty } from "node:tty";
import { systemClock } from "../core/clock.ts";
import type { MeshClient } from "../core/coordinator/client.ts";
import { MeshError } from "../core/errors.ts";
import { EXIT } from "./exit.ts";
import type { TableOptions } from "./table.ts";
import { outputsOfProcess, type TerminalOptions } from "./terminal.ts";

export interface Surroundings extends Omit<TerminalOptions, "onBroken"> {
  /** Throws UNREACHABLE when no mesh is up, with how to start one. */
  openClient(options: { mesh?: string }): Promise<MeshClient>;
  /** Height of the terminal; 0 and undefined count as 24. */
  rows(): number | undefined;
  /** Whether somebody is there who can answer a question. */
  canAsk: boolean;
  /** Asks a question that is answered by yes or no. */
  confirm(question: string): Promise<boolean>;
  /** Milliseconds since 1970. */
  now(): number;
  /** From now on the first SIGINT, SIGTERM or SIGHUP does nothing but abort `signal`, with its name as the reason. */
  catchSignals(): Interruption;
  /** Says with which status the process is to end. */
  exit(status: number): void;
}

export interface Interruption extends Disposable {
  readonly signal: AbortSignal;
}

/** What a connection to a mesh needs to know. */
export interface ClientOptions {
  mesh?: string | undefined;
}

const DEFAULT_COLUMNS = 80;

const encoder = new TextEncoder();

/** Those of this process. */
export function surroundingsOfProcess(): Surroundings {
  return {
    ...outputsOfProcess(),
    openClient: async (options) => (await import("./client.ts")).openClient(options),
    columns: () => process.stdout.columns,
    rows: () => process.stdout.rows,
    clock: systemClock,
    now: () => Date.now(),
    canAsk: isatty(0) && isatty(2),
    confirm,
    catchSignals,
    exit: (status) => {
      process.exitCode = status;
    },
  };
}

/** Connects to the mesh that the command line names. */
export function connect(around: Surroundings, { mesh }: ClientOptions): Promise<MeshClient> {
  return around.openClient(mesh === undefined ? {} : { mesh });
}

/** Does what a command is for with a client of its own; what it returns becomes the exit status. */
export function withClient(
  around: Surroundings,
  options: ClientOptions,
  action: (client: MeshClient) => Promise<number>,
): Promise<void> {
  return endingQuietly(around, async () => {
    await using client = await connect(around, options);
    return await action(client);
  });
}

/** Sets the exit status to what `action` returns; to 0 when nobody reads what it prints any more (`mesh jobs | head`). */
export async function endingQuietly(around: Surroundings, action: () => Promise<number>): Promise<void> {
  try {
    around.exit(await action());
  } catch (error) {
    if (!isReaderGone(error)) throw error;
    around.exit(EXIT.ok);
  }
}

/** Prints a line, or several. Rejects with OUTPUT when stdout takes no more. */
export async function print(around: Surroundings, text: string): Promise<void> {
  await around.stdout(encoder.encode(`${text}\n`)).catch((error: Error) => {
    throw brokenOutput(error);
  });
}

/** Tells on stderr what is not the answer itself, as "mesh: text". */
export async function say(around: Surroundings, text: string): Promise<void> {
  await around.stderr(encoder.encode(`mesh: ${text}\n`)).catch(() => {}); // nobody is left to tell
}

/** How tables are shown on stdout: where nobody looks at them, nothing is left out for want of room. */
export function tableOptions({ isTty, columns, colour }: Surroundings): TableOptions {
  return { width: isTty.stdout ? columns() || DEFAULT_COLUMNS : undefined, colour: isTty.stdout && colour };
}

/** The error of a command whose output cannot be written because of `cause`. */
export function brokenOutput(cause: Error): MeshError {
  return new MeshError("OUTPUT", `the output cannot be written: ${cause.message}`, { cause });
}

function isReaderGone(error: unknown): boolean {
  return ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code === "EPIPE";
}

/** The status of a process that ended because of this signal, as shells write it. */
export function statusOfSignal(signal: AbortSignal): number {
  const statuses: Record<string, number> = { SIGTERM: EXIT.terminated, SIGHUP: 129 };
  return statuses[signal.reason as string] ?? EXIT.interrupted;
}

async function confirm(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  // Ctrl-C and the end of the input are a no.
  const ended = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
  try {
    const answer = await Promise.race([lines.question(`${question} [y/N] `), ended]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    lines.close();
  }
}

function catchSignals(): Interruption {
  const controller = new AbortController();
  const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const listeners = names.map((name) => {
    const listener = () => {
      release(); // the next one ends the process as usual
      controller.abort(name);
    };
    process.on(name, listener);
    return { name, listener };
  });
  const release = () => {
    for (const { name, listener } of listeners) process.off(name, listener);
  };
  return { signal: controller.signal, [Symbol.dispose]: release };
}
