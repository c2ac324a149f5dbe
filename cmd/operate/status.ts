// mesh status: who is in the mesh, and what runs.
import { Command } from "@commander-js/extra-typings";
import type { Status } from "../../core/coordinator/answers.ts";
import { jsonOption, meshOption } from "../options.ts";
import type { ProgramContext } from "../program.ts";
import {
  endingQuietly,
  print,
  type Surroundings,
  surroundingsOfProcess,
  tableOptions,
  withClient,
} from "../surroundings.ts";
import { askStatus } from "./asking.ts";
import { statusLines } from "./status-view.ts";
import { watchStatus } from "./watch.ts";

/** `mesh status`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("status")
    .description("Show the nodes of the mesh, how each is reached, and the jobs that run.")
    .option("-w, --watch", "show it again every second, until Ctrl-C")
    .addOption(jsonOption("{ mesh, nodes, jobs }; with --watch one line each second"))
    .addOption(meshOption())
    .action(({ watch, json, mesh }) => {
      const show = (status: Status) => textOf(status, json === true, around);
      if (watch) return endingQuietly(around, () => watchStatus(around, { mesh }, show, json === true));
      return withClient(around, { mesh }, async (client) => {
        await print(around, show(await askStatus(client)));
        return 0;
      });
    });
}

function textOf(status: Status, json: boolean, around: Surroundings): string {
  const { mesh, nodes, jobs } = status;
  if (json) return JSON.stringify({ mesh, nodes, jobs });
  return statusLines(status, { now: around.now(), ...tableOptions(around) }).join("\n");
}
