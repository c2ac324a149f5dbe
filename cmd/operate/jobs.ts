// mesh jobs: the last jobs, those that run and those that are over.
import { Command, Option } from "@commander-js/extra-typings";
import type { JobRecord } from "../../core/coordinator/answers.ts";
import { momentWords } from "../amounts.ts";
import { jsonOption, meshOption, wholeNumber } from "../options.ts";
import type { ProgramContext } from "../program.ts";
import { print, surroundingsOfProcess, tableOptions, withClient } from "../surroundings.ts";
import { type Column, table } from "../table.ts";
import { askJobs, HISTORY_LIMIT } from "./asking.ts";
import { colourOfState, nodeNames, timeOf } from "./job-words.ts";

const DEFAULT_LIMIT = 20;

/** `mesh jobs`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("jobs")
    .description("List the last jobs, newest first, and how each ended.")
    .addOption(
      new Option("-n, --number <count>", "how many of them")
        .argParser(wholeNumber(1, HISTORY_LIMIT))
        .default(DEFAULT_LIMIT),
    )
    .addOption(jsonOption("{ jobs }"))
    .addOption(meshOption())
    .action(({ number, json, mesh }) =>
      withClient(around, { mesh }, async (client) => {
        const jobs = await askJobs(client, number);
        if (json) await print(around, JSON.stringify({ jobs }));
        else if (jobs.length === 0) await print(around, "no job has run in this mesh yet");
        else await print(around, table(jobs, columnsAt(around.now()), tableOptions(around)).join("\n"));
        return 0;
      }),
    );
}

function columnsAt(now: number): Column<JobRecord>[] {
  return [
    { title: "JOB", rank: 0, align: "right", text: ({ job }) => String(job) },
    { title: "NAME", rank: 0, text: ({ name }) => name },
    { title: "STATE", rank: 0, text: ({ state }) => state, colour: colourOfState },
    { title: "EXIT", rank: 2, align: "right", text: ({ exitCode }) => (exitCode === null ? "" : String(exitCode)) },
    { title: "STARTED", rank: 4, text: ({ startedAt }) => momentWords(startedAt) },
    { title: "TIME", rank: 3, align: "right", text: (job) => timeOf(job, now) },
    { title: "USER", rank: 5, text: ({ user, host }) => `${user}@${host}` },
    { title: "NODES", rank: 6, text: ({ nodes }) => nodeNames(nodes) },
    { title: "CAUSE", rank: 1, isCut: true, text: ({ cause }) => cause ?? "" },
  ];
}
