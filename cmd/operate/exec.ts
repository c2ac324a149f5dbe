// mesh exec: runs a command on workers of a mesh that is up, over the sessions of the mesh.
import { readFileSync } from "node:fs";
import { Command, Option } from "@commander-js/extra-typings";
import { parseDuration } from "../../core/config/mod.ts";
import { MeshError } from "../../core/errors.ts";
import { EXIT } from "../exit.ts";
import { jsonOption, meshOption, parsed } from "../options.ts";
import type { ProgramContext } from "../program.ts";
import {
  connect,
  endingQuietly,
  type Surroundings,
  say,
  statusOfSignal,
  surroundingsOfProcess,
} from "../surroundings.ts";
import { askStatus } from "./asking.ts";
import { LinePrinter, RawPrinter } from "./exec-output.ts";
import { type ExecOutcome, execOn } from "./exec-run.ts";
import { count } from "./job-words.ts";
import { chooseWorkers } from "./worker-choice.ts";

const EXAMPLES = `
The first word names hosts; with -- all words before it do, and without any, --all or --tag choose. A single
word with spaces in it is run by sh. The command gets no input unless -i is given, starts in the home folder,
and ends with this process, and all it started with it.

Exit status: that of the command when it ran on one host; of several hosts 0 when all succeeded, else 3.

Examples:
  mesh exec gpu1 nvidia-smi
  mesh exec 'rack[01-16]' gpu1 -- uptime
  mesh exec --all 'df -h / | tail -1'
  mesh exec --tag gpu --script setup.sh -- --fast`;

interface ExecOptions {
  all?: true | undefined;
  tag?: string[] | undefined;
  script?: string | undefined;
  stdin?: true | undefined;
  timeout?: number | undefined;
  json?: true | undefined;
  prefix: boolean;
  mesh?: string | undefined;
}

/** `mesh exec`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess(), line = process.argv) {
  const hasDashes = line.includes("--");
  return new Command("exec")
    .description("Run a command on workers of the mesh, on all of them at once.")
    .usage("[options] [HOST... --] COMMAND...")
    .argument("[words...]", "hosts, and behind -- the command")
    .option("--all", "on all workers")
    .addOption(new Option("--tag <tag>", "on workers with this tag; may be repeated").argParser(collect))
    .option("--script <file>", "sends this script and runs it with the command's words as its arguments")
    .option("-i, --stdin", "let the command read what is given to this process; on several hosts all read the same")
    .addOption(
      new Option("--timeout <time>", 'ends it everywhere after this time, such as "10m", with status 124').argParser(
        parsed(parseDuration),
      ),
    )
    .option("--no-prefix", "print lines of several hosts without their names")
    .addOption(jsonOption("{ host, stream, line } for each line, and { host, end, exitCode, signal, error } at last"))
    .addOption(meshOption())
    .addHelpText("after", EXAMPLES)
    .passThroughOptions(!hasDashes)
    .action((words, options, { parent }) => {
      const raw: readonly string[] = (parent as unknown as { rawArgs?: string[] } | null)?.rawArgs ?? [];
      const request = requestOf(words, raw, options);
      return endingQuietly(around, () => run(request, options, around));
    });
}

function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

interface Request {
  names: string[];
  words: string[];
  script: Uint8Array | undefined;
}

/** Which words are hosts. Throws USAGE when there is nothing to run, or nowhere. */
function requestOf(words: string[], raw: readonly string[], { all, tag = [], script }: ExecOptions): Request {
  const dashes = raw.indexOf("--");
  const behind = dashes < 0 ? undefined : raw.length - dashes - 1;
  const isChosen = all === true || tag.length > 0;
  const hosts = behind !== undefined ? words.length - behind : isChosen ? 0 : 1;
  const names = words.slice(0, hosts);
  const rest = words.slice(hosts);
  if (all && names.length > 0) throw usage(`--all goes without names, not with ${JSON.stringify(names[0])}`);
  if (rest.length === 0 && script === undefined)
    throw usage("there is no command to run: `mesh exec HOST... -- COMMAND`");
  if (names.length === 0 && !isChosen && behind === undefined) throw usage("name hosts, or use --all or --tag");
  return {
    names,
    words: rest.length === 1 && script === undefined ? shellWords(rest[0]!) : rest,
    script: scriptOf(script),
  };
}

/** One word with spaces or signs of the shell in it is a line for the shell, as it is behind ssh. */
function shellWords(word: string): string[] {
  return /[\s;&|<>$`()]/.test(word) ? ["sh", "-c", word] : [word];
}

function scriptOf(file: string | undefined): Uint8Array | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file === "-" ? 0 : file);
  } catch (cause) {
    throw new MeshError("USAGE", `the script ${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function usage(message: string): MeshError {
  return new MeshError("USAGE", message);
}

async function run({ names, words, script }: Request, options: ExecOptions, around: Surroundings): Promise<number> {
  await using client = await connect(around, options);
  const { workers, leftOut } = chooseWorkers({ names, tags: options.tag ?? [] }, await askStatus(client));
  if (leftOut.length > 0) await say(around, `left out, as they are down: ${leftOut.join(", ")}`);
  const isOne = workers.length === 1;
  const form = options.json ? "json" : options.prefix ? "named" : "bare";
  const printer = isOne && form !== "json" ? new RawPrinter(around) : new LinePrinter(around, form);
  using limits = stopper(around, options.timeout);
  const printing: Promise<void>[] = [];
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => {}); // told below, once all is over
  const fail = (error: unknown) => {
    broken.reject(error);
    limits.stop("SIGTERM");
  };
  const order = { words, ...(script && { script }), ...(options.stdin && { input: Bun.stdin.stream() }) };
  const outcomes = await execOn(
    client,
    workers,
    order,
    {
      printed: (...what) => printer.printed(...what).catch(fail),
      ended: (outcome) => void printing.push(printer.ended(outcome).catch(fail)),
    },
    limits.signal,
  );
  await Promise.all(printing);
  await Promise.race([broken.promise, Promise.resolve()]);
  return await report(outcomes, limits, around, isOne);
}

interface Stopper extends Disposable {
  readonly signal: AbortSignal;
  /** What stopped the commands, if anything did. */
  readonly by: AbortSignal | "timeout" | undefined;
  stop(signal: NodeJS.Signals): void;
}

/** Stops the commands at the first signal, which is passed on, and when their time is over. */
function stopper(around: Surroundings, timeoutMs: number | undefined): Stopper {
  const controller = new AbortController();
  const interruption = around.catchSignals();
  let by: Stopper["by"];
  const stop = (signal: NodeJS.Signals) => controller.abort(signal);
  interruption.signal.addEventListener("abort", () => {
    by ??= interruption.signal;
    stop(interruption.signal.reason as NodeJS.Signals);
  });
  const late = () => {
    by ??= "timeout";
    stop("SIGTERM");
  };
  const timer = timeoutMs === undefined ? undefined : around.clock.after(timeoutMs, late);
  return {
    signal: controller.signal,
    get by() {
      return by;
    },
    stop,
    [Symbol.dispose]: () => {
      timer?.cancel();
      interruption[Symbol.dispose]();
    },
  };
}

/** Says what went wrong where, and returns the status. */
async function report(outcomes: ExecOutcome[], { by }: Stopper, around: Surroundings, isOne: boolean): Promise<number> {
  const failed = outcomes.filter(({ end }) => end?.exitCode !== 0);
  for (const { host, end } of failed) if (end?.problem !== undefined) await say(around, `${host}: ${end.problem}`);
  if (!isOne && failed.length > 0) {
    const words = failed.map(failureWords).join("; ");
    await say(around, `${failed.length} of ${count(outcomes.length, "host")} failed: ${words}`);
  }
  if (by === "timeout") {
    await say(around, "the time given to the command is over: it was ended");
    return EXIT.timeout;
  }
  if (by) return statusOfSignal(by);
  if (!isOne) return failed.length === 0 ? EXIT.ok : EXIT.partly;
  const [{ end, error }] = outcomes as [ExecOutcome];
  if (error) throw error;
  return end.exitCode;
}

function failureWords({ host, end, error }: ExecOutcome): string {
  if (error) return error.message.includes(host) ? error.message : `${host}: ${error.message}`;
  return end.signal ? `${host} by ${end.signal}` : `${host} with ${end.exitCode}`;
}
