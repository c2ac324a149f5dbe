// Chunks as mesh makes them.
import { pool } from "mesh";

const COUNT = 100_000;
const items = Array.from({ length: COUNT }, (_, i) => i);
const workers = pool();
const square = (x: number) => x * x;
for (let round = 0; round < 10; round++) await workers.map(square, items);
const rates: number[] = [];
for (let round = 0; round < 41; round++) {
  const start = performance.now();
  await workers.map(square, items);
  rates.push((COUNT / (performance.now() - start)) * 1_000);
}
console.log(rates.sort((a, b) => a - b)[20]);
