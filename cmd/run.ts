// `mesh run`: runs a script with a mesh of this machine around it, and takes that down again.
import { availableParallelism, hostname } from "node:os";
import { basename, resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { systemClock } from "../core/clock.ts";
import { findConfig, loadConfig, parseDuration, parseSize } from "../core/config/mod.ts";
import type { SubmitJob } from "../core/coordinator/bodies.ts";
import { MeshError } from "../core/errors.ts";
import { type JobTerminal, Launcher } from "../core/job/launcher.ts";
import { isMeshKnown } from "../core/member/known.ts";
import * as api from "../core/mod.ts";
import { MessageType } from "../core/wire/message-types.ts";
import { UnixTransport } from "../transports/unix/unix-transport.ts";
import { EXIT } from "./exit.ts";
import { defaultMesh } from "./mesh-settings.ts";
import { NO_MESH } from "./no-mesh.ts";
import { meshOption, parsed } from "./options.ts";
import { ownCommand } from "./own-command.ts";
import { userName } from "./roles/node-process.ts";
import { terminalOfProcess } from "./terminal.ts";

const SLOTS_LIMIT = 4_096;

interface RunOptions {
  slots?: number | undefined;
  slotMemory?: number | undefined;
  timeout?: number | undefined;
  detach?: boolean | undefined;
  mesh?: string | undefined;
  local?: boolean | undefined;
  hosts?: string[] | undefined;
}

export function command() {
  return new Command("run")
    .description(
      "Run a TypeScript script; its functions handed to the mesh run on the slots of all its workers, or on every core of this machine when no mesh is up.",
    )
    .argument("<script>", "the TypeScript or JavaScript file to run")
    .argument("[args...]", "the script's own arguments; options after the script are the script's too")
    .addOption(
      new Option(
        "--slots <count>",
        "processes for tasks (default: as mesh.toml says, else one for each core)",
      ).argParser(parseSlots),
    )
    .addOption(
      new Option("--slot-memory <size>", 'memory each of them may use, such as "512M"').argParser(parsed(parseSize)),
    )
    .addOption(
      new Option("--timeout <time>", 'ends the run after this time, such as "10m", with status 124').argParser(
        parsed(parseDuration),
      ),
    )
    .option("-d, --detach", "hand the job to the mesh and return: see `mesh attach`, `mesh logs` and `mesh kill`")
    .option("--local", "use this machine alone, whatever mesh there is")
    .addOption(
      new Option(
        "--hosts <hosts>",
        'use these hosts for this run: names of mesh.toml or of ssh, such as "a,b,rack[01-16]"',
      )
        .argParser((text: string) => text.split(/,(?![^[]*\])/).filter((word) => word !== ""))
        .conflicts(["local", "detach", "mesh"]),
    )
    .addOption(meshOption())
    .passThroughOptions()
    .action(async (script, args, options) => {
      process.exitCode = await runAsAsked(script, args, options);
    });
}

function parseSlots(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= SLOTS_LIMIT) return count;
  throw new InvalidArgumentError(`It is a whole number of 1 to ${SLOTS_LIMIT}.`);
}

async function runAsAsked(script: string, args: string[], options: RunOptions): Promise<number> {
  if (options.detach) return await submit(script, args, options);
  return options.hosts ? await runOnHosts(script, args, options) : await run(script, args, options);
}

/** Brings up a mesh of those hosts, runs the job in it, and takes it down again. */
async function runOnHosts(script: string, args: string[], { hosts, ...options }: RunOptions): Promise<number> {
  const { TemporaryMesh } = await import("./hosts/temporary-mesh.ts");
  const { PARALLEL } = await import("./hosts/fleet-options.ts");
  const { statusOfSignal, surroundingsOfProcess } = await import("./surroundings.ts");
  const around = surroundingsOfProcess();
  const interruption = around.catchSignals();
  try {
    await using mesh = await TemporaryMesh.start(hosts!, { parallel: PARALLEL }, around, interruption.signal);
    interruption[Symbol.dispose](); // from here on signals are for the job
    return await run(script, args, { ...options, mesh: mesh.name }, mesh.pids);
  } catch (error) {
    if (interruption.signal.aborted) return statusOfSignal(interruption.signal);
    throw error;
  } finally {
    interruption[Symbol.dispose]();
  }
}

/** Runs a job and returns the exit status of this process; `keep` are children that are not the job's. */
async function run(script: string, args: string[], options: RunOptions, keep: number[] = []): Promise<number> {
  const config = await settingsHere(options);
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => {}); // it may break after the job is over
  const terminal = terminalOfProcess({
    clock: systemClock,
    onBroken: (error) => broken.reject(new BrokenOutput(error.message, { cause: error })),
  });
  const launcher = new Launcher({
    script,
    args,
    transport: new UnixTransport(),
    terminal,
    slots: options.slots ?? config.slots ?? availableParallelism(),
    slotMemoryBytes: options.slotMemory ?? config.slotMemoryBytes,
    showsProgress: process.stderr.isTTY,
    headCommand: [...ownCommand("head"), config.mesh ?? NO_MESH],
    apiExports: Object.keys(api),
    keep: new Set(keep),
  });
  const limits = watch(launcher, terminal, options.timeout);
  try {
    const ended = await Promise.race([launcher.run(), broken.promise]);
    if (ended.cause && !limits.stoppedBy) await terminal.notice(`the script ${ended.cause}`);
    return statusOf(limits.stoppedBy) ?? ended.exitCode;
  } catch (error) {
    const status = statusOf(limits.stoppedBy);
    if (status !== undefined) return status;
    if (error instanceof BrokenOutput) return error.statusOrThrow();
    throw error;
  } finally {
    limits.stop();
    await launcher.dispose();
    await terminal.end();
  }
}

interface LocalSettings {
  slots?: number;
  slotMemoryBytes?: number;
  /** The mesh to run in, if it is up. */
  mesh?: string;
}

/** What the nearest mesh.toml says of this machine, and the mesh to use. Throws CONFIG when it is wrong. */
async function settingsHere({ mesh, local }: RunOptions): Promise<LocalSettings> {
  const file = findConfig();
  const config = file === undefined ? undefined : await loadConfig(file);
  const here = config?.hosts.find((host) => host.provider === "local");
  const others = config?.hosts.some((host) => host.provider !== "local") === true;
  const name = mesh ?? config?.name ?? defaultMesh();
  const isMeant = !local && (mesh !== undefined || others || isMeshKnown(name));
  return { ...here, ...(isMeant && { mesh: name }) };
}

/** Hands the job to the coordinator, and says how to see it again. */
async function submit(script: string, args: string[], options: RunOptions): Promise<number> {
  if (options.timeout !== undefined)
    throw new MeshError("USAGE", "a detached job has no --timeout: end it with mesh kill");
  const { openClient } = await import("./client.ts");
  const { buildJob } = await import("../core/job/build.ts");
  const bundle = await buildJob({ script, apiExports: Object.keys(api) });
  const config = await settingsHere(options);
  await using client = await openClient({ ...(config.mesh !== undefined && { mesh: config.mesh }) });
  const slotMemoryBytes = options.slotMemory ?? config.slotMemoryBytes;
  const body: SubmitJob = {
    name: basename(script),
    script: resolve(script),
    args,
    user: userName(),
    host: hostname(),
    driver: Buffer.from(bundle.driver),
    worker: Buffer.from(bundle.worker),
    options: {
      eager: bundle.usesMesh,
      ...(options.slots !== undefined && { slots: options.slots }),
      ...(slotMemoryBytes !== undefined && { slotMemoryBytes }),
    },
  };
  const { job } = await client.ask<{ job: number }>(MessageType.submitJob, body);
  console.error(
    `mesh: job ${job} runs in the mesh ${client.mesh}; \`mesh attach ${job}\` shows it, \`mesh kill ${job}\` ends it`,
  );
  console.log(job);
  return EXIT.ok;
}

type StoppedBy = NodeJS.Signals | "timeout";

/** Stops the job at a signal or when its time is over. */
function watch(launcher: Launcher, terminal: JobTerminal, timeoutMs: number | undefined) {
  const limits = { stoppedBy: undefined as StoppedBy | undefined, stop: () => {} };
  const stop = (by: StoppedBy) => {
    limits.stoppedBy ??= by;
    launcher.stop(by === "timeout" ? "SIGTERM" : by);
  };
  const signals = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map((signal) => {
    const listener = () => stop(signal);
    process.on(signal, listener);
    return () => process.off(signal, listener);
  });
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          void terminal.notice(`the run took longer than its limit of ${timeoutMs / 1000} s: it is stopped`);
          stop("timeout");
        }, timeoutMs);
  limits.stop = () => {
    clearTimeout(timer);
    for (const off of signals) off();
  };
  return limits;
}

function statusOf(stoppedBy: StoppedBy | undefined): number | undefined {
  if (stoppedBy === undefined) return undefined;
  const statuses = { timeout: EXIT.timeout, SIGINT: EXIT.interrupted, SIGTERM: EXIT.terminated, SIGHUP: 129 };
  return statuses[stoppedBy as keyof typeof statuses];
}

/** Standard output takes no more. */
class BrokenOutput extends Error {
  /** A reader that went away (`mesh run … | head`) has what it wanted; any other end of the output is an error. */
  statusOrThrow(): number {
    if ((this.cause as NodeJS.ErrnoException).code === "EPIPE") return EXIT.ok;
    throw new MeshError("OUTPUT", `the job's output cannot be written, so it was stopped: ${this.message}`, {
      cause: this.cause,
    });
  }
}
