// mesh down: ends the workers of hosts, and with the last of them the coordinator.
import { Command, Option } from "@commander-js/extra-typings";
import { MeshError } from "../../core/errors.ts";
import { parseGrace } from "../amounts.ts";
import { jsonOption, meshOption, parsed } from "../options.ts";
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

const DEFAULT_GRACE_MS = 5_000;

interface DownOptions extends FleetCommandOptions {
  purge?: true | undefined;
  grace: number;
}

/** `mesh down`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("down")
    .description(
      "End the workers of hosts; without hosts all that were brought up, and the coordinator on this machine.",
    )
    .argument("[hosts...]", "names or ranges of mesh.toml, or what `mesh up` was told")
    .option("--purge", "remove all that mesh keeps on the hosts, too: binaries, keys, logs")
    .addOption(
      new Option("--grace <time>", 'how long jobs get to end by themselves, such as "10s" or 0')
        .argParser(parsed(parseGrace))
        .default(DEFAULT_GRACE_MS, "5s"),
    )
    .addOption(parallelOption())
    .addOption(acceptNewKeysOption())
    .addOption(askPasswordOption())
    .addOption(jsonOption("{ hosts: [{ name, outcome, removed, error }] }"))
    .addOption(meshOption())
    .action((hosts, options) => endingQuietly(around, () => down(hosts, options, around)));
}

async function down(words: string[], options: DownOptions, around: Surroundings): Promise<number> {
  using interruption = around.catchSignals();
  const { signal } = interruption;
  await using fleet = await Fleet.open(words, options, around);
  const outcomes = await fleet.down({ purge: options.purge === true, graceMs: options.grace }, signal);
  const areDown = outcomes.every(({ error }) => error === undefined);
  const isEnded = words.length === 0 && areDown && (await endMesh(fleet, around));
  if (outcomes.length === 0 && !isEnded) throw nothingUp(fleet);
  await fleet.settle();
  if (options.json) await print(around, outcomesJson(outcomes));
  else if (outcomes.length > 0) await print(around, outcomeLines(outcomes, fleet, tableOptions(around)).join("\n"));
  return signal.aborted ? statusOfSignal(signal) : statusOfOutcomes(outcomes);
}

/** Ends the coordinator, unless workers that were not started from here still need it. Returns whether it did. */
async function endMesh(fleet: Fleet, around: Surroundings): Promise<boolean> {
  const others = await fleet.otherWorkers();
  if (others.length > 0) {
    await say(
      around,
      `the coordinator stays: ${others.join(", ")} joined by themselves; \`mesh kill coordinator\` ends it`,
    );
    return false;
  }
  const isEnded = await fleet.endCoordinator();
  if (isEnded) await say(around, `the coordinator of the mesh ${fleet.settings.name} is ended`);
  return isEnded;
}

function nothingUp({ settings }: Fleet): MeshError {
  return new MeshError(
    "USAGE",
    `nothing of the mesh ${settings.name} is up from this machine, and no mesh.toml names hosts`,
  );
}
