// Begins and ends jobs as fast as it can, and says so after each: killed in the middle by job-store.test.ts.
import { writeSync } from "node:fs";
import type { JobRecord } from "../../core/coordinator/answers.ts";
import { JobStore } from "../../core/coordinator/job-store.ts";

const [path, first] = process.argv.slice(2) as [string, string];
const store = new JobStore(path);
for (let job = Number(first); ; job++) {
  const record: JobRecord = {
    ...{ job, name: "primes", script: "/p.ts", user: "ann", host: "desk", head: { node: 20, name: "run-1" } },
    ...{ detached: false, state: "running", exitCode: null, cause: null, startedAt: job, endedAt: null },
    ...{ progress: null, nodes: [] },
  };
  store.save(record);
  store.save({ ...record, state: "done", exitCode: 0, endedAt: job + 1 });
  writeSync(1, `${job}\n`);
}
