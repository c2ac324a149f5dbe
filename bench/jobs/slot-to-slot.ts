// The way from a slot to one on another node and back, in µs: `mesh run slot-to-slot.ts`.
import { pool } from "mesh";

const WARM = 2_000;
const COUNT = 6_000;

await using one = pool({ slots: 1 });
const echo = (n: number) => n;
for (let i = 0; i < WARM; i++) await one.submit(echo, i);
const start = performance.now();
for (let i = 0; i < COUNT; i++) await one.submit(echo, i);
console.log((1_000 * (performance.now() - start)) / COUNT);
