// mesh up: a worker on every host, with nothing installed there.
import { Command } from "@commander-js/extra-typings";
import { MeshError } from "../../core/errors.ts";
import type { FleetHost } from "../../core/fleet/hosts.ts";
import type { Plan } from "../../core/provider.ts";
import { jsonOption, meshOption } from "../options.ts";
import type { ProgramContext } from "../program.ts";
import {
  endingQuietly,
  print,
  type Surroundings,
  say,
  statusOfSignal,
  surroundingsOfProcess,
  tableOptions,
} from "../surroundings.ts";
import { Fleet } from "./fleet.ts";
import { acceptNewKeysOption, askPasswordOption, type FleetCommandOptions, parallelOption } from "./fleet-options.ts";
import { outcomeLines, outcomesJson, statusOfOutcomes } from "./host-outcomes.ts";

const EXAMPLES = `
Examples:
  mesh up                       all hosts of mesh.toml
  mesh up "rack[01-16]" gpu1    some of them, and the rendezvous of mesh.toml, if it has one
  mesh up alice@10.0.0.5        a host that no mesh.toml names: what ssh finds by that
  mesh up --dry-run             what would be done

Running it again changes nothing where a worker of this build runs with these settings.
Exit status: 0, or 3 when some hosts failed; 4 or 5 when all did, for that reason.`;

interface UpOptions extends FleetCommandOptions {
  dryRun?: true | undefined;
}

/** `mesh up`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("up")
    .description("Start a worker on every host, over SSH: nothing has to be installed there, nobody needs to be root.")
    .argument("[hosts...]", "names or ranges of mesh.toml, or destinations for ssh (default: all of mesh.toml)")
    .option("-n, --dry-run", "only say what would be done")
    .addOption(parallelOption())
    .addOption(acceptNewKeysOption())
    .addOption(askPasswordOption())
    .addOption(jsonOption("{ hosts: [{ name, outcome, sentBytes, error }] }"))
    .addOption(meshOption())
    .addHelpText("after", EXAMPLES)
    .action((hosts, options) => endingQuietly(around, () => up(hosts, options, around)));
}

async function up(words: string[], options: UpOptions, around: Surroundings): Promise<number> {
  using interruption = around.catchSignals();
  const { signal } = interruption;
  await using fleet = await Fleet.open(words, { ...options, andRendezvous: true }, around);
  if (fleet.hosts.length === 0) throw noHosts();
  if (options.dryRun) return await showPlan(fleet, await fleet.plan(signal), options, around);
  const outcomes = await fleet.up(signal);
  await fleet.settle();
  await print(
    around,
    options.json ? outcomesJson(outcomes) : outcomeLines(outcomes, fleet, tableOptions(around)).join("\n"),
  );
  if (signal.aborted) return statusOfSignal(signal);
  const hasFailed = outcomes.some(({ error }) => error !== undefined);
  if (hasFailed && !options.json)
    await say(around, `\`${["mesh doctor", ...words].join(" ")}\` looks closer at what failed`);
  return statusOfOutcomes(outcomes);
}

function noHosts(): MeshError {
  const how = "name one (`mesh up alice@10.0.0.5`), or name your hosts in a mesh.toml (`mesh init`)";
  return new MeshError("USAGE", `there are no hosts to bring up: ${how}`);
}

async function showPlan(
  fleet: Fleet,
  plans: Map<FleetHost, Plan | MeshError>,
  { json }: UpOptions,
  around: Surroundings,
): Promise<number> {
  await fleet.settle();
  const rows = fleet.hosts.map((host) => ({ host, plan: plans.get(host)! }));
  const text = json
    ? JSON.stringify({ hosts: rows.map(({ host, plan }) => ({ name: host.name, ...planJson(plan) })) })
    : rows.map(({ host, plan }) => `${host.name}: ${planWords(plan)}`).join("\n");
  await print(around, text);
  return statusOfOutcomes(rows.map(({ plan }) => (plan instanceof MeshError ? { error: plan } : {})));
}

function planJson(plan: Plan | MeshError) {
  if (plan instanceof MeshError) return { action: null, steps: [], error: { code: plan.code, message: plan.message } };
  return { ...plan, error: null };
}

function planWords(plan: Plan | MeshError): string {
  if (plan instanceof MeshError) return `cannot: ${plan.message}`;
  return plan.action === "none" ? "nothing to do" : plan.steps.join(", ");
}
