// Workloads of pool(): many tiny items, and few heavy ones.
import { join } from "node:path";
import { MESH, program, ROOT, type Workload, where } from "./contender.ts";

const python = Bun.which("/usr/bin/python3") ?? Bun.which("python3") ?? "python3";
const bench = (path: string) => join(ROOT, "bench", path);
const job = (name: string, ...args: string[]) =>
  program("mesh", [MESH, "run", "--slots", "2", bench(`jobs/${name}.ts`), ...args]);
const floor = (name: string, file: string, ...args: string[]) =>
  program(name, [process.execPath, bench(`floor/${file}.ts`), ...args]);
const multiprocessing = (workload: string, ...args: string[]) =>
  where(python, () =>
    program("multiprocessing.Pool", [python, bench("peers/multiprocessing_pool.py"), workload, ...args]),
  );

// Erlang's port mapper stays behind as a daemon: ended again unless it was there before.
const ERLANG = `epmd -names >/dev/null 2>&1; had=$?; escript "$1"; status=$?
for try in 1 2 3 4 5 6 7 8 9 10; do [ $had = 0 ] || ! epmd -names >/dev/null 2>&1 && break; epmd -kill >/dev/null 2>&1; sleep 0.2; done
exit $status`;

export async function poolOne(): Promise<Workload> {
  return {
    title: "pool, one message for each item, no-op, 2 slots",
    unit: "items/s",
    lessIsBetter: false,
    contenders: [
      job("pool-one"),
      floor("Bun sockets by hand", "sockets"),
      ...multiprocessing("one"),
      ...where("escript", () =>
        program("Erlang pmap, 2 nodes", ["sh", "-c", ERLANG, "pmap", bench("peers/pmap.escript")]),
      ),
    ],
    bars: [
      { text: "at least 0.8 of Bun sockets by hand", against: "Bun sockets by hand", ratio: 0.8 },
      { text: "at least 3 times multiprocessing.Pool", against: "multiprocessing.Pool", ratio: 3 },
      { text: "ahead of Erlang", against: "Erlang pmap, 2 nodes", ratio: 1 },
    ],
  };
}

export async function poolDefault(): Promise<Workload> {
  return {
    title: "pool, default chunking, x => x * x over 100,000 numbers, 2 slots",
    unit: "items/s",
    lessIsBetter: false,
    contenders: [job("pool-default"), floor("for loop, one process", "loop"), ...multiprocessing("default")],
    bars: [{ text: "at least 2 times multiprocessing.Pool", against: "multiprocessing.Pool", ratio: 2 }],
  };
}

export async function tasks(): Promise<Workload> {
  const rounds = await calibrated();
  return {
    title: "16 tasks of 20 ms of CPU, 2 slots",
    unit: "ms",
    lessIsBetter: true,
    contenders: [
      job("tasks", rounds),
      floor("two bare processes", "fork", rounds),
      ...multiprocessing("tasks", rounds),
    ],
    bars: [{ text: "efficiency at least 0.97 of bare processes", against: "two bare processes", ratio: 0.97 }],
  };
}

/** How many rounds of the busy loop last 20 ms here. */
async function calibrated(): Promise<string> {
  const { busy } = await import("./floor/busy.ts");
  busy(50_000_000);
  const start = performance.now();
  busy(50_000_000);
  return String(Math.round((50_000_000 * 20) / (performance.now() - start)));
}
