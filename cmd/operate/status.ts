// mesh status: who is in the mesh, and what runs.
import { Command } from "@commander-js/extra-typings";
import type { Status } from "../../core/coordinator/answers.ts";
import { MeshError } from "../../core/errors.ts";
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
import { askStatus, nodeNamed } from "./asking.ts";
import { peersLines } from "./peers-view.ts";
import { statusLines } from "./status-view.ts";
import { watchStatus } from "./watch.ts";

/** `mesh status`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("status")
    .description("Show the nodes of the mesh, how each is reached, and the jobs that run.")
    .argument("[names...]", "nodes, for --peers: the pairs that they are one of (default: all)")
    .option("-p, --peers", "show instead how nodes reach each other: path, address, round trip, and why not better")
    .option("-w, --watch", "show it again every second, until Ctrl-C")
    .addOption(jsonOption("{ mesh, nodes, jobs }; with --watch one line each second"))
    .addOption(meshOption())
    .action((names, { peers, watch, json, mesh }) => {
      if (names.length > 0 && !peers)
        throw new MeshError("USAGE", "names of nodes go with --peers: `mesh status --peers NODE`");
      const show = (status: Status) => textOf(status, { json, peers, names }, around);
      if (watch) return endingQuietly(around, () => watchStatus(around, { mesh }, show, json === true));
      return withClient(around, { mesh }, async (client) => {
        await print(around, show(await askStatus(client)));
        return 0;
      });
    });
}

interface Shown {
  json: true | undefined;
  peers: true | undefined;
  names: readonly string[];
}

function textOf(status: Status, { json, peers, names }: Shown, around: Surroundings): string {
  const { mesh, nodes, jobs } = status;
  for (const name of names) nodeNamed(name, nodes);
  if (json) return JSON.stringify({ mesh, nodes, jobs });
  const options = tableOptions(around);
  if (peers) return peersLines(status, names, options).join("\n");
  return statusLines(status, { now: around.now(), ...options }).join("\n");
}
