// npm run bench: one table for each workload, mesh beside the bare floor and its peers, all in the same run.
// Contenders take turns, so that a slow moment of the machine hits all of them; figures are medians.
// Bars are printed with what was measured; nothing here decides whether a build is good.
// Arguments choose groups: `npm run bench -- net`.
import { availableParallelism } from "node:os";
import { coldStart } from "./cold-start.ts";
import { type Bar, type Contender, median, type Workload } from "./contender.ts";
import { coldUp, cp, exec, warmUp } from "./hosts.ts";
import { net } from "./net.ts";
import { paths } from "./paths.ts";
import { poolDefault, poolOne, tasks } from "./pool.ts";
import { punched } from "./punched.ts";
import { relay } from "./relay.ts";
import { weather } from "./weather.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const GROUPS: Record<string, (() => Promise<Workload>)[]> = {
  pool: [poolOne, poolDefault, tasks],
  start: [coldStart],
  net,
  relay,
  punched,
  weather,
  paths,
  hosts: [coldUp, warmUp, exec, cp],
};

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
  if (workload.contenders.length === 0) return console.log("  this machine lacks what it needs");
  const values = await measure(workload.contenders);
  const medians = workload.contenders.map((contender) => median(values.get(contender)!));
  const mesh = medians[0]!;
  const hasRatio = (index: number) => index > 0 && !workload.unlike;
  console.log(row(["", "median", "worst", "best", workload.unlike ? "" : "mesh is"]));
  workload.contenders.forEach((contender, i) => {
    const own = values.get(contender)!.toSorted((a, b) => a - b);
    const ratio = workload.lessIsBetter ? medians[i]! / mesh : mesh / medians[i]!;
    const [low, high] = workload.lessIsBetter ? [own.at(-1)!, own[0]!] : [own[0]!, own.at(-1)!];
    console.log(
      row([contender.name, show(medians[i]!), show(low), show(high), hasRatio(i) ? `${ratio.toFixed(2)} x` : ""]),
    );
  });
  const medianOf = (name: string) => medians[workload.contenders.findIndex((contender) => contender.name === name)];
  for (const bar of workload.bars) {
    const result = compare(bar, mesh, medianOf, workload.lessIsBetter);
    if (result) console.log(`  ${result.reached ? "reached" : "MISSED "}  ${bar.text}: ${result.figure}`);
  }
}

/** Undefined when the bar is about a peer that is not on this machine. */
function compare(
  bar: Bar,
  mesh: number,
  medianOf: (name: string) => number | undefined,
  lessIsBetter: boolean,
): { reached: boolean; figure: string } | undefined {
  if ("atLeast" in bar) return { reached: mesh >= bar.atLeast, figure: show(mesh) };
  const other = medianOf("of" in bar ? bar.of : bar.against);
  if (other === undefined) return undefined;
  if ("of" in bar) return { reached: other <= bar.limit, figure: show(other) };
  const ratio = lessIsBetter ? other / mesh : mesh / other;
  return { reached: ratio >= bar.ratio, figure: `${ratio.toFixed(3)} x` };
}

function chosen(names: string[]): (() => Promise<Workload>)[] {
  const unknown = names.find((name) => !Object.hasOwn(GROUPS, name));
  if (unknown !== undefined) {
    console.error(`no group ${unknown}: choose of ${Object.keys(GROUPS).join(", ")}`);
    process.exit(2);
  }
  return (names.length > 0 ? names : Object.keys(GROUPS)).flatMap((name) => GROUPS[name]!);
}

const workloads = chosen(process.argv.slice(2));

console.log(`${availableParallelism()} cores, ${ROUNDS} rounds, Bun ${Bun.version}`);
for (const workload of workloads) {
  const made = await workload();
  await report(made);
  await made.end?.();
}
process.exit(); // with what stands until then
