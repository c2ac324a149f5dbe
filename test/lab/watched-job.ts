// A job whose test says when it goes on, and sees which host ran what: hosts of a lab share this machine's disk.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { MeshProcess } from "../support/mesh.ts";
import { until } from "../support/until.ts";
import { DESK, type LabMesh } from "./lab-mesh.ts";

/** Items that run at once; the others wait until the test opens the gate. */
const FREE_ITEMS = 10;

/** One begun item. */
export interface Run {
  host: string;
  item: number;
}

export class WatchedJob implements AsyncDisposable {
  readonly process: MeshProcess;
  readonly items: number;
  readonly #log: string;
  readonly #gate: string;

  /** Squares of 0 to `items` - 1, of which all from the tenth on wait for `open`. */
  constructor(mesh: LabMesh, items = 60) {
    const { path } = mesh.folders.get(DESK)!;
    this.items = items;
    this.#log = join(path, "runs.log");
    this.#gate = join(path, "gate");
    writeFileSync(this.#log, "");
    this.process = mesh.run(`import { pool, self } from "mesh";
import { appendFileSync, existsSync } from "node:fs";
const [log, gate] = ${JSON.stringify([this.#log, this.#gate])};
const squares = await pool().map(async (i: number) => {
  appendFileSync(log, self.node + " " + i + "\\n");
  await Bun.sleep(5);
  for (let n = 0; i >= ${FREE_ITEMS} && !existsSync(gate); n++) {
    if (n % 10 === 0) console.log("held by " + self.node);
    await Bun.sleep(5);
  }
  return i * i;
}, Array.from({ length: ${items} }, (_, i) => i));
console.log(JSON.stringify(squares));`);
  }

  /** Items begun so far, in the order of their beginnings. */
  get runs(): Run[] {
    const lines = readFileSync(this.#log, "utf8").trim().split("\n");
    return lines
      .filter((line) => line !== "")
      .map((line) => ({ host: line.split(" ")[0]!, item: Number(line.split(" ")[1]) }));
  }

  /** Waits until each of these hosts holds an item that cannot go on. */
  async waitsOn(...hosts: string[]): Promise<void> {
    const isThere = (host: string) => this.runs.some((run) => run.host === host && run.item >= FREE_ITEMS);
    await until(() => hosts.every(isThere), { what: `items waiting on ${hosts.join(", ")}` });
  }

  /** Waits until what items on that host print comes in: the way between it and the head is good, there and back. */
  async hears(host: string): Promise<void> {
    const count = () => this.process.stdout.split(`held by ${host}\n`).length;
    const before = count();
    await until(() => count() > before + 5, { what: `output of items on ${host}` });
  }

  open(): void {
    if (!existsSync(this.#gate)) writeFileSync(this.#gate, "");
  }

  get expected(): number[] {
    return Array.from({ length: this.items }, (_, i) => i * i);
  }

  /** Items that were begun more than once. */
  get repeated(): number[] {
    const seen = new Set<number>();
    return this.runs.map(({ item }) => item).filter((item) => seen.size === seen.add(item).size);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}
