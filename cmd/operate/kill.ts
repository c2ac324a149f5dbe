// mesh kill: ends jobs and nodes, and returns when they are really over.
import { Command, Option } from "@commander-js/extra-typings";
import type { Status } from "../../core/coordinator/answers.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { MeshError } from "../../core/errors.ts";
import { parseGrace } from "../amounts.ts";
import { EXIT } from "../exit.ts";
import { jsonOption, meshOption, parsed } from "../options.ts";
import type { ProgramContext } from "../program.ts";
import { print, type Surroundings, say, surroundingsOfProcess, withClient } from "../surroundings.ts";
import { askStatus } from "./asking.ts";
import { count, jobWords } from "./job-words.ts";
import { endAll, endTarget, type Outcome } from "./kill-outcomes.ts";
import { findTargets, type TargetKind } from "./kill-targets.ts";

const DEFAULT_GRACE_MS = 5_000;

const EXAMPLES = `
Examples:
  mesh kill 7              the job with that number
  mesh kill primes         the node, or the last running job, of that name
  mesh kill --all --yes    all jobs, then all workers; coordinator and rendezvous stay`;

interface KillOptions {
  grace: number;
  all?: true | undefined;
  yes?: true | undefined;
  json?: true | undefined;
  job?: true | undefined;
  node?: true | undefined;
}

/** `mesh kill`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("kill")
    .description("End jobs or nodes: by SIGTERM, then by SIGKILL. Returns when they are really over.")
    .argument("[targets...]", "numbers of jobs, or names of jobs or nodes")
    .addOption(
      new Option("--grace <time>", 'how long they get to end by themselves, such as "10s" or 0')
        .argParser(parsed(parseGrace))
        .default(DEFAULT_GRACE_MS, "5s"),
    )
    .option("--all", "end all jobs and all workers")
    .option("--yes", "do not ask before --all")
    .addOption(new Option("--job", "the targets are jobs, where a node has the same name").conflicts(["node", "all"]))
    .addOption(new Option("--node", "the targets are nodes, where a job has the same name").conflicts("all"))
    .addOption(jsonOption("{ jobs, nodes, errors }"))
    .addOption(meshOption())
    .addHelpText("after", EXAMPLES)
    .action((targets, { mesh, ...options }) => {
      checkLine(targets, options, around);
      return withClient(around, { mesh }, async (client) => {
        const status = await askStatus(client);
        if (options.all) return killAll(client, status, options, around);
        return killTargets(client, status, targets, options, around);
      });
    });
}

function checkLine(targets: string[], { all, yes }: KillOptions, around: Surroundings): void {
  if (!all && targets.length === 0) {
    throw new MeshError("USAGE", "nothing to kill: name jobs or nodes (`mesh status` lists them), or use --all");
  }
  if (all && targets.length > 0) {
    throw new MeshError(
      "USAGE",
      `--all goes without names, not with ${JSON.stringify(targets[0])}: give one of the two`,
    );
  }
  if (all && !yes && !around.canAsk) {
    throw new MeshError("USAGE", "mesh kill --all asks first, and nobody is there to answer: add --yes");
  }
}

async function killTargets(
  client: MeshClient,
  status: Status,
  texts: string[],
  { grace, json, job, node }: KillOptions,
  around: Surroundings,
): Promise<number> {
  const kind: TargetKind = job ? "job" : node ? "node" : "any";
  const targets = await findTargets(texts, kind, status, client);
  const outcomes = await Promise.all(targets.map((target) => endTarget(client, target, grace)));
  return report(outcomes, json === true, around);
}

async function killAll(
  client: MeshClient,
  status: Status,
  { grace, yes, json }: KillOptions,
  around: Surroundings,
): Promise<number> {
  const workers = status.nodes.filter(({ role }) => role === "worker");
  const jobs = status.jobs.map(jobWords);
  if (!yes && jobs.length + workers.length > 0) {
    const what = [...jobs, ...(workers.length > 0 ? [count(workers.length, "worker")] : [])].join(", ");
    if (!(await around.confirm(`End ${what} of the mesh ${status.mesh.name}?`))) {
      throw new MeshError("CANCELLED", "nothing was ended");
    }
  }
  return report(await endAll(client, status, grace), json === true, around);
}

/** Tells what ended and how; returns 0 when all is dead, 3 when some is, else the status of what went wrong. */
async function report(outcomes: Outcome[], json: boolean, around: Surroundings): Promise<number> {
  const alive = outcomes.filter(({ error }) => error !== undefined);
  if (json) await print(around, JSON.stringify(asData(outcomes)));
  else await tell(outcomes, around);
  if (alive.length === 0) return EXIT.ok;
  if (alive.length < outcomes.length) return EXIT.partly;
  throw alive[0]!.error;
}

async function tell(outcomes: Outcome[], around: Surroundings): Promise<void> {
  if (outcomes.length === 0) await print(around, "nothing runs that could be ended");
  const isThrown = outcomes.every(({ error }) => error !== undefined);
  for (const [at, { what, words, error }] of outcomes.entries()) {
    if (error === undefined) await print(around, `${what}: ${words}`);
    // The first one becomes the error of the command.
    else if (!isThrown || at > 0) await say(around, error.message);
  }
}

function asData(outcomes: Outcome[]) {
  return {
    jobs: outcomes.flatMap(({ job }) => job ?? []),
    nodes: outcomes.flatMap(({ node, error }) =>
      node === undefined ? [] : { name: node, ended: error === undefined },
    ),
    errors: outcomes.flatMap(({ error }) => error?.message ?? []),
  };
}
