// mesh logs: what a job printed, while it runs and afterwards; or what a node itself has to say.
import { Command, Option } from "@commander-js/extra-typings";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { isMeshError, MeshError } from "../../core/errors.ts";
import { nearest } from "../../core/nearest.ts";
import { EXIT } from "../exit.ts";
import { jobRef, jsonOption, meshOption, nodeName, wholeNumber } from "../options.ts";
import type { ProgramContext } from "../program.ts";
import { type Surroundings, statusOfSignal, surroundingsOfProcess, withClient } from "../surroundings.ts";
import { askJobs, askStatus } from "./asking.ts";
import { endWords, jobWords } from "./job-words.ts";
import { JsonLogPrinter, type LogPrinter, TerminalLogPrinter } from "./log-printer.ts";
import { type LogEnd, type LogRequest, readLog } from "./log-reader.ts";

const SEATS_LIMIT = 65_535;
const TAIL_LIMIT = 1_000_000;

export const LOG_JSON = "{ timeMs, host, slot, stream, line } for each line, at last { end, job, state, exitCode }";

/** `mesh logs`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("logs")
    .description(
      "Print what a job printed: its script and its slots, each to stdout or stderr as it was. Or the own log of a node.",
    )
    .argument(
      "<job>",
      "the number of a job, or a name: then the last job of that name, else the worker, rendezvous or coordinator of that name",
    )
    .option("-f, --follow", "go on until the job, or the node, is over")
    .addOption(new Option("--host <name>", "only of this node").argParser(nodeName))
    .addOption(
      new Option("--slot <number>", "only of this slot; 0 is the script").argParser(wholeNumber(0, SEATS_LIMIT)),
    )
    .addOption(new Option("--stream <stream>", "only this one").choices(["stdout", "stderr"] as const))
    .addOption(new Option("-n, --tail <count>", "only the last so many lines").argParser(wholeNumber(0, TAIL_LIMIT)))
    .addOption(jsonOption(LOG_JSON))
    .addOption(meshOption())
    .action((job, { mesh, json, follow, host, slot, stream, tail }) => {
      const request: LogRequest = {
        job: jobRef(job),
        follow: follow === true,
        ...(host !== undefined && { host }),
        ...(slot !== undefined && { slot }),
        ...(stream !== undefined && { stream }),
        ...(tail !== undefined && { tail }),
      };
      return withClient(around, { mesh }, (client) => logs(client, request, json === true, around));
    });
}

async function logs(client: MeshClient, request: LogRequest, json: boolean, around: Surroundings): Promise<number> {
  using interruption = around.catchSignals();
  const { signal } = interruption;
  const printer = logPrinter(around, json);
  try {
    const { end, isEmpty } = await printLog(client, request, printer, signal);
    if (isEmpty && request.host !== undefined) await adviseHost(client, end, request.host, printer);
    if (request.follow) await tellEnd(client, end, printer);
    return EXIT.ok;
  } catch (error) {
    if (signal.aborted) return statusOfSignal(signal);
    if (!isMeshError(error, "USAGE") || !(await logsOfNode(client, request, json, around, signal))) throw error;
    return signal.aborted ? statusOfSignal(signal) : EXIT.ok;
  }
}

/** What names no job may name a node; false when it does not. */
async function logsOfNode(
  client: MeshClient,
  { job: name, follow, tail, host, slot, stream }: LogRequest,
  json: boolean,
  around: Surroundings,
  signal: AbortSignal,
): Promise<boolean> {
  if (typeof name !== "string") return false;
  const status = await askStatus(client);
  if (!status.nodes.some((node) => node.name === name)) return false;
  if (host !== undefined || slot !== undefined || stream !== undefined) {
    throw new MeshError("USAGE", `${name} is a node, no job: its own log has no --host, --slot or --stream`);
  }
  const { printNodeLog } = await import("./node-log.ts");
  await printNodeLog(client, status, { name, follow, json, tail }, around, signal).catch((error) => {
    if (!signal.aborted) throw error;
  });
  return true;
}

export function logPrinter(around: Surroundings, json: boolean): LogPrinter {
  return json ? new JsonLogPrinter(around) : new TerminalLogPrinter(around);
}

/** Prints a log to its end; rejects as readLog does, and with OUTPUT. */
export async function printLog(
  client: MeshClient,
  request: LogRequest,
  printer: LogPrinter,
  signal: AbortSignal,
): Promise<{ end: LogEnd; isEmpty: boolean }> {
  let isEmpty = true;
  let end: LogEnd | undefined;
  try {
    end = await readLog(
      client,
      request,
      (lines) => {
        isEmpty &&= lines.records.length === 0 && !lines.droppedBytes;
        return printer.print(lines);
      },
      signal,
    );
    return { end, isEmpty };
  } finally {
    await printer.end(end);
  }
}

/** Says how a job ended that did not end well. */
export async function tellEnd(client: MeshClient, end: LogEnd, printer: LogPrinter): Promise<void> {
  if (end.state === "done" || end.state === "running") return;
  // The cause is in the history alone; without that there is still what came with the log.
  const record = (await askJobs(client).catch(() => [])).find(({ job }) => job === end.job);
  await printer.notice(
    record ? `${jobWords(record)}: ${endWords(record)}` : `job ${end.job}: ${endWords({ ...end, cause: null })}`,
  );
}

async function adviseHost(client: MeshClient, { job }: LogEnd, host: string, printer: LogPrinter): Promise<void> {
  const record = (await askJobs(client)).find((one) => one.job === job);
  const names = record ? [...new Set([record.head.name, ...record.nodes])] : [];
  if (names.includes(host) || names.length === 0) return;
  const near = nearest(host, names);
  const advice = near === undefined ? `it used ${names.join(", ")}` : `did you mean ${near}?`;
  await printer.notice(`job ${job} printed nothing on a node named ${host}: ${advice}`);
}
