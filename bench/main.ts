// npm run bench: one table for each workload, mesh beside the bare floor and its peers, all in the same run.
// Contenders take turns, so that a slow moment of the machine hits all of them; figures are medians.
// Bars are printed with what was measured; nothing here decides whether a build is good.
import { availableParallelism } from "node:os";
import { coldStart } from "./cold-start.ts";
import { type Contender, median, type Workload } from "./contender.ts";
import { poolDefault, poolOne, tasks } from "./pool.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const WORKLOADS: (() => Promise<Workload>)[] = [poolOne, poolDefault, tasks, coldStart];

async function measure(contenders: Contender[]): Promise<Map<Contender, number[]>> {
  const values = new Map<Contender, number[]>(contenders.map((contender) => [contender, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const contender of contenders) values.get(contender)!.push(await contender.run());
  }
  return values;
}

function row(cells: string[]): string {
  return cells.map((cell, i) => (i === 0 ? cell.padEnd(34) : cell.padStart(16))).join("");
}

function show(value: number): string {
  if (value >= 1_000) return Math.round(value).toLocaleString("en-US");
  return value.toPrecision(3);
}

async function report(workload: Workload): Promise<void> {
  console.log(`\n${workload.title} (${workload.unit})`);
  const values = await measure(workload.contenders);
  const medians = workload.contenders.map((contender) => median(values.get(contender)!));
  const mesh = medians[0]!;
  console.log(row(["", "median", "worst", "best", "mesh is"]));
  workload.contenders.forEach((contender, i) => {
    const own = values.get(contender)!.toSorted((a, b) => a - b);
    const ratio = workload.lessIsBetter ? medians[i]! / mesh : mesh / medians[i]!;
    const [low, high] = workload.lessIsBetter ? [own.at(-1)!, own[0]!] : [own[0]!, own.at(-1)!];
    console.log(
      row([contender.name, show(medians[i]!), show(low), show(high), i === 0 ? "" : `${ratio.toFixed(2)} x`]),
    );
  });
  const medianOf = (name: string) => medians[workload.contenders.findIndex((contender) => contender.name === name)];
  for (const bar of workload.bars) {
    const other = medianOf("of" in bar ? bar.of : bar.against);
    if (other === undefined) continue; // a peer that is not on this machine
    const ratio = workload.lessIsBetter ? other / mesh : mesh / other;
    const reached = "of" in bar ? other <= bar.limit : ratio >= bar.ratio;
    console.log(
      `  ${reached ? "reached" : "MISSED "}  ${bar.text}: ${"of" in bar ? show(other) : `${ratio.toFixed(3)} x`}`,
    );
  }
}

console.log(`${availableParallelism()} cores, ${ROUNDS} rounds, Bun ${Bun.version}`);
for (const workload of WORKLOADS) await report(await workload());
