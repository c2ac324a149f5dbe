// mesh cp: copies files between this machine and workers of a mesh that is up, over the sessions of the mesh.
import { Command } from "@commander-js/extra-typings";
import type { NodeStatus } from "../../core/coordinator/answers.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { isMeshError, MeshError } from "../../core/errors.ts";
import { copyTree, joined, type TreeOutcome } from "../../core/files/copy-tree.ts";
import type { Files } from "../../core/files/files.ts";
import { LocalFiles } from "../../core/files/local-files.ts";
import { RemoteFiles } from "../../core/files/remote-files.ts";
import { bytesWords, spanWords } from "../amounts.ts";
import { EXIT, exitStatusOf } from "../exit.ts";
import { jsonOption, meshOption } from "../options.ts";
import type { ProgramContext } from "../program.ts";
import {
  connect,
  endingQuietly,
  print,
  type Surroundings,
  statusOfSignal,
  surroundingsOfProcess,
} from "../surroundings.ts";
import { askStatus } from "./asking.ts";
import { type CopyStep, copySteps, patternOf, within } from "./cp-paths.ts";
import { CopyProgress } from "./cp-progress.ts";
import { count } from "./job-words.ts";

const EXAMPLES = `
Paths on hosts are relative to the home folder there. Permissions and times are kept, links are followed, and a file
gets its name when all of it is there: what was interrupted goes on when it is copied again.

Examples:
  mesh cp data.bin gpu1:                        into the home folder on gpu1
  mesh cp -r model 'rack[01-16]:/data/'         to 16 hosts
  mesh cp gpu1:/var/log/syslog .                from a host
  mesh cp 'rack[01-04]:out.csv' results         from several: results/rack01/out.csv, ...`;

interface CpOptions {
  recursive?: true | undefined;
  overwrite: boolean;
  json?: true | undefined;
  mesh?: string | undefined;
}

const JSON_SHAPE =
  "{ from, source, to, target, state, sizeBytes, hash, sentBytes, standing, error } for each file, { end, files, failed, sizeBytes, sentBytes } at last";

/** `mesh cp`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("cp")
    .description("Copy files between this machine and workers of the mesh.")
    .usage("[options] SRC... DST")
    .argument("<paths...>", "what to copy, and at last where to; HOST:PATH on workers")
    .option("-r, --recursive", "folders with all that is in them")
    .option("--no-overwrite", "leave files of other content as they are")
    .addOption(jsonOption(JSON_SHAPE))
    .addOption(meshOption())
    .addHelpText("after", EXAMPLES)
    .action((paths, options) => endingQuietly(around, () => run(paths, options, around)));
}

async function run(paths: string[], options: CpOptions, around: Surroundings): Promise<number> {
  await using client = await connect(around, options);
  using interruption = around.catchSignals();
  const { signal } = interruption;
  const status = await askStatus(client);
  const steps = copySteps(paths, status);
  await using progress = new CopyProgress(around, options.json === true);
  const copy = new CopyRun(client, status.nodes, { ...options, signal }, progress, around);
  await copy.meet(steps);
  // Hosts side by side, what goes to one of them in order.
  const byHost = Map.groupBy(steps, ({ fromHost, toHost }) => `${fromHost ?? ""}>${toHost ?? ""}`);
  await Promise.all(Array.from(byHost.values(), (own) => copy.steps(own)));
  if (signal.aborted) return statusOfSignal(signal);
  return await copy.report();
}

class CopyRun {
  readonly #client: MeshClient;
  readonly #nodes: readonly NodeStatus[];
  readonly #options: CpOptions & { signal: AbortSignal };
  readonly #progress: CopyProgress;
  readonly #around: Surroundings;
  readonly #here = new LocalFiles({ root: "", userFolder: process.cwd() });
  readonly #tally = { files: 0, failed: 0, sizeBytes: 0, sentBytes: 0 };
  #firstError: MeshError | undefined;
  /** One file: what goes wrong with it is the error of the command. */
  #isOne = false;

  constructor(
    client: MeshClient,
    nodes: readonly NodeStatus[],
    options: CpOptions & { signal: AbortSignal },
    progress: CopyProgress,
    around: Surroundings,
  ) {
    this.#client = client;
    this.#nodes = nodes;
    this.#options = options;
    this.#progress = progress;
    this.#around = around;
  }

  /** Begins the sessions that are needed. */
  async meet(steps: readonly CopyStep[]): Promise<void> {
    this.#isOne = steps.length === 1 && !this.#options.recursive;
    const names = new Set(steps.flatMap(({ fromHost, toHost }) => [fromHost, toHost]));
    const hosts = this.#nodes.filter(({ name, state }) => names.has(name) && state !== "down");
    await this.#client.meet(hosts);
  }

  /** What goes from one host to one other; no error of one ends another. */
  async steps(steps: readonly CopyStep[]): Promise<void> {
    for (const step of steps) {
      try {
        await this.#step(step);
      } catch (error) {
        if (!isMeshError(error)) throw error;
        if (isMeshError(error, "CANCELLED")) return;
        await this.#outcome(step, { source: step.source, target: step.target, error });
        if (isMeshError(error, "LINK_CLOSED")) return;
      }
    }
  }

  /** Tells how it went, and returns the status. */
  async report(): Promise<number> {
    const { files, failed, sizeBytes, sentBytes } = this.#tally;
    if (this.#options.json) await this.#print({ end: true, ...this.#tally });
    if (this.#isOne && this.#firstError) throw this.#firstError;
    if (files === 0 && this.#firstError) return exitStatusOf(this.#firstError);
    if (!this.#options.json && files > 0) {
      const sent = sentBytes < sizeBytes ? `, ${bytesWords(sentBytes)} of them sent` : "";
      const what = `${count(files, "file")}, ${bytesWords(sizeBytes)}${sent}, in ${spanWords(this.#progress.seconds)}`;
      await this.#progress.say(failed > 0 ? `${what}; ${count(failed, "failure")}` : what);
    }
    return failed === 0 ? EXIT.ok : EXIT.partly;
  }

  async #step(step: CopyStep): Promise<void> {
    const matched = await this.#matched(step);
    if (!matched) return await this.#copy(step);
    this.#isOne = false;
    for (const source of matched) await this.#copy({ ...step, source, isFolder: step.isFolder || matched.length > 1 });
  }

  /** What a pattern stands for; undefined for a path that is none, or is there as it is written. */
  async #matched(step: CopyStep): Promise<string[] | undefined> {
    const files = this.#filesOf(step.fromHost);
    const { folder, pattern } = patternOf(step) ?? {};
    if (folder === undefined || !pattern) return undefined;
    if ((await files.look({ root: "user", path: step.source }, false)).kind !== "none") return undefined;
    const look = await files.look({ root: "user", path: folder }, true);
    const entries = (look.kind !== "none" && look.entries) || [];
    const names = entries.map(({ name }) => name).filter((name) => !name.startsWith(".") && pattern.match(name));
    if (names.length > 0) return names.map((name) => joined(folder, name));
    throw new MeshError("STORAGE", `nothing on ${step.fromHost} matches ${step.source}`);
  }

  async #copy(step: CopyStep): Promise<void> {
    const from = { files: this.#filesOf(step.fromHost), path: step.source, host: step.fromHost };
    const files = this.#filesOf(step.toHost);
    const path = await this.#targetOf(step, files);
    const { recursive, overwrite, signal } = this.#options;
    const told: Promise<void>[] = [];
    const options = {
      recursive: recursive === true,
      overwrite,
      signal,
      progress: (bytes: number) => this.#progress.moved(bytes),
    };
    await copyTree(from, { files, path }, options, {
      found: (sizeBytes) => this.#progress.found(sizeBytes),
      copied: (outcome) => told.push(this.#outcome(step, outcome)),
    });
    await Promise.all(told);
  }

  #filesOf(name: string | undefined): Files {
    if (name === undefined) return this.#here;
    const host = this.#nodes.find((each) => each.name === name)!;
    if (host.state === "down") throw new MeshError("UNREACHABLE", `${name} is down: see \`mesh status\``);
    return new RemoteFiles({ node: this.#client.node, of: host.node, name, signal: this.#options.signal });
  }

  /** As cp does it: into a folder that is there, else under the name given. */
  async #targetOf({ fromHost, source, target, isPerHost, isFolder }: CopyStep, files: Files): Promise<string> {
    if (isPerHost) {
      for (const path of [target, within(target, fromHost!)]) await files.makeFolder({ root: "user", path });
      return within(within(target, fromHost!), source);
    }
    const there = await files.look({ root: "user", path: target }, false);
    if (there.kind === "folder") return within(target, source);
    if (isFolder)
      throw new MeshError("STORAGE", `there is no folder ${target}: make it, or copy one thing to that name`);
    return target;
  }

  async #outcome({ fromHost, toHost }: CopyStep, outcome: TreeOutcome): Promise<void> {
    const { source, target } = outcome;
    const [from, to] = [fromHost ?? null, toHost ?? null];
    if ("error" in outcome) {
      const { error } = outcome;
      this.#tally.failed++;
      this.#firstError ??= error;
      if (this.#options.json) await this.#print({ from, source, to, target, state: "failed", error: error.message });
      else if (!this.#isOne) await this.#progress.say(error.message);
      return;
    }
    const { path, ...copied } = outcome.copied;
    this.#tally.files++;
    this.#tally.sizeBytes += copied.sizeBytes;
    this.#tally.sentBytes += copied.state === "saved" ? copied.sentBytes : 0;
    if (this.#options.json) await this.#print({ from, source, to, target: path, ...copied });
    else if (copied.state === "exists")
      await this.#progress.say(`left as it is: ${to === null ? "" : `${to}:`}${path}`);
  }

  async #print(object: object): Promise<void> {
    await print(this.#around, JSON.stringify(object));
  }
}
