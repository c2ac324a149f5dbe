// 16 tasks of equal length.
import { args, pool } from "mesh";
import { busy } from "../floor/busy.ts";

const rounds = Number(args[0]);
const workers = pool();
await workers.apply(busy, rounds);
const times: number[] = [];
for (let round = 0; round < 15; round++) {
  const start = performance.now();
  await workers.map(busy, new Array<number>(16).fill(rounds));
  times.push(performance.now() - start);
}
console.log(times.sort((a, b) => a - b)[7]);
