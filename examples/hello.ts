// The smallest job: one function, run for each name on whatever slot is free.
import { pool } from "mesh";

const greeting = "hello";
const lines = await pool().map((name: string) => `${greeting}, ${name}`, ["mesh", "world"]);
for (const line of lines) console.log(line);
