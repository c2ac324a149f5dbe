// One message for each item.
import { pool } from "mesh";

const COUNT = 100_000;
const items = Array.from({ length: COUNT }, (_, i) => i);
const workers = pool();
for (let round = 0; round < 3; round++) await workers.map((x: number) => x, items, { chunkSize: 1 });
const rates: number[] = [];
for (let round = 0; round < 15; round++) {
  const start = performance.now();
  await workers.map((x: number) => x, items, { chunkSize: 1 });
  rates.push((COUNT / (performance.now() - start)) * 1_000);
}
console.log(rates.sort((a, b) => a - b)[7]);
