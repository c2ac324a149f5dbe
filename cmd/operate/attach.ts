// mesh attach: a running job's terminal, again: its output from the beginning, and its exit status.
import { Command } from "@commander-js/extra-typings";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { EXIT } from "../exit.ts";
import { jobRef, jsonOption, meshOption } from "../options.ts";
import type { ProgramContext } from "../program.ts";
import { type Surroundings, statusOfSignal, surroundingsOfProcess, withClient } from "../surroundings.ts";
import type { LogEnd, LogRequest } from "./log-reader.ts";
import { LOG_JSON, logPrinter, printLog, tellEnd } from "./logs.ts";

/** `mesh attach`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("attach")
    .description("Follow a job from its beginning to its end, and end as it does. Ctrl-C leaves it running.")
    .argument("<job>", "the number of a job, or a name: then the last job of that name")
    .addOption(jsonOption(LOG_JSON))
    .addOption(meshOption())
    .action((job, { mesh, json }) => {
      const request = { job: jobRef(job), follow: true };
      return withClient(around, { mesh }, (client) => attach(client, request, json === true, around));
    });
}

async function attach(client: MeshClient, request: LogRequest, json: boolean, around: Surroundings): Promise<number> {
  using interruption = around.catchSignals();
  const { signal } = interruption;
  const printer = logPrinter(around, json);
  try {
    const { end } = await printLog(client, request, printer, signal);
    await tellEnd(client, end, printer);
    return statusOf(end);
  } catch (error) {
    if (!signal.aborted) throw error;
    const { job } = request;
    await printer.notice(
      `detached; job ${job} goes on: \`mesh attach ${job}\` comes back, \`mesh kill ${job}\` ends it`,
    );
    return signal.reason === "SIGINT" ? EXIT.ok : statusOfSignal(signal);
  }
}

/** The job's own; 1 for one that left none. */
function statusOf({ state, exitCode }: LogEnd): number {
  if (exitCode !== null && exitCode >= 0) return exitCode;
  return state === "done" ? EXIT.ok : state === "killed" ? EXIT.terminated : EXIT.jobFailed;
}
