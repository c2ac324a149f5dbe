// The processes of a mesh under attack: where they listen, what they remember and whether they are well.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect } from "vitest";
import { type MeshProcess, peakBytes } from "../support/mesh.ts";
import type { TestMesh } from "../support/test-mesh.ts";

const MIB = 1024 * 1024;
/** What an attack may cost a process (X17). */
const ALLOWED_BYTES = 50 * MIB;

export class Victim {
  readonly name: string;
  readonly process: MeshProcess;
  readonly port: number;
  #before = 0;

  constructor(name: string, process: MeshProcess, address: string) {
    this.name = name;
    this.process = process;
    this.port = Number(address.split(":").at(-1));
  }

  get address(): string {
    return `tcp://127.0.0.1:${this.port}`;
  }

  get isAlive(): boolean {
    return this.process.processes.some(({ pid }) => pid === this.process.pid);
  }

  /** Bytes of physical memory it holds now. */
  get memoryBytes(): number {
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.process.pid}/status`, "latin1"))?.[1];
    return 1024 * Number(kib);
  }

  /** Files and sockets it has open. */
  get descriptors(): number {
    return readdirSync(`/proc/${this.process.pid}/fd`).length;
  }

  /** Measures from here on what an attack costs. */
  watch(): void {
    writeFileSync(`/proc/${this.process.pid}/clear_refs`, "5"); // resets the peak: proc_pid_clear_refs(5)
    this.#before = this.memoryBytes;
  }

  /** Memory that it needed at most since `watch`, beyond what it had. */
  get costBytes(): number {
    return peakBytes(this.process.pid) - this.#before;
  }
}

/** Both kinds of ports there are: the coordinator's, which takes strangers, and that of a worker. */
export async function victimsOf(mesh: TestMesh): Promise<{ coordinator: Victim; worker: Victim; all: Victim[] }> {
  const { nodes } = await mesh.status();
  const [name] = mesh.workers.keys();
  const worker = new Victim(name!, mesh.worker(name!), nodes.find((node) => node.name === name)!.addresses[0]!);
  const coordinator = new Victim("coordinator", mesh.coordinator, mesh.address);
  return { coordinator, worker, all: [coordinator, worker] };
}

/** Both live, use no more memory than they may, and do their work. */
export async function areWell(
  mesh: TestMesh,
  victims: readonly Victim[],
  allowedBytes: number = ALLOWED_BYTES,
): Promise<void> {
  for (const victim of victims) {
    expect(victim.isAlive, victim.process.stderr.slice(-2000)).toBe(true);
    expect(victim.costBytes / MIB, `MiB that ${victim.name} needed`).toBeLessThan(allowedBytes / MIB);
  }
  const script =
    'import { pool } from "mesh"; console.log(JSON.stringify(await pool().map((i: number) => i + 1, [1, 2, 3])));';
  expect(await mesh.resultOf(script)).toEqual([2, 3, 4]);
}
