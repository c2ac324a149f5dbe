// What contenders of bench/net.ts that are written in TypeScript share: the sizes, a process that answers, timed rounds.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MeshCa } from "../core/identity/ca.ts";
import type { Credentials } from "../core/identity/identity.ts";
import { createKeyPair } from "../core/identity/keys.ts";
import { median } from "./contender.ts";

/** Bytes of a message, and how many make a round. */
export const NET_WORKLOADS = {
  "round-trip": { bytes: 64, count: 4_000 },
  "one-way-64": { bytes: 64, count: 500_000 },
  "one-way-1024": { bytes: 1024, count: 200_000 },
  bulk: { bytes: 1024 * 1024, count: 512 },
} as const;

export type NetWorkload = keyof typeof NET_WORKLOADS;

const WARM_ROUNDS = 3;
const MEASURE_MS = 1_500;

/** Runs `round` until it is warm and then for a while; prints the median: µs, messages/s or MB/s. */
export async function printRounds(workload: NetWorkload, round: () => Promise<void>): Promise<void> {
  const values: number[] = [];
  const { bytes, count } = NET_WORKLOADS[workload];
  let end = Number.POSITIVE_INFINITY;
  for (let number = 0; performance.now() < end; number++) {
    if (number === WARM_ROUNDS) end = performance.now() + MEASURE_MS;
    const start = performance.now();
    await round();
    const ms = performance.now() - start;
    if (number < WARM_ROUNDS) continue;
    if (workload === "round-trip") values.push((1_000 * ms) / count);
    else values.push(workload === "bulk" ? (bytes * count) / ms / 1_000 : (1_000 * count) / ms);
  }
  console.log(median(values));
}

/** Credentials of two nodes of a mesh made for this run. */
export async function twoCredentials(): Promise<[Credentials, Credentials]> {
  const folder = mkdtempSync(join(tmpdir(), "mesh-bench-"));
  const nowMs = Date.now();
  try {
    const ca = await MeshCa.create(folder, { nowMs });
    const issue = async (name: string) => {
      const { publicKey, keyPem } = createKeyPair();
      const certificatePem = await ca.issue({ role: "worker", name, publicKey }, { nowMs });
      return { caPem: ca.trust(nowMs), certificatePem, keyPem };
    };
    return [await issue("left"), await issue("right")];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export interface Answerer extends Disposable {
  /** What it told: where it listens. */
  readonly told: string;
}

/** Starts `path` as a second process, hands it `message` (a secret goes by no other way) and waits for what it tells. */
export async function startAnswerer(path: string, args: string[], message: unknown): Promise<Answerer> {
  const told = Promise.withResolvers<string>();
  const child = Bun.spawn([process.execPath, path, ...args], {
    stdout: "inherit",
    stderr: "inherit",
    ipc: (text) => told.resolve(text),
    onExit: () => told.reject(new Error(`${path} ended`)),
  });
  child.send(message);
  return { told: await told.promise, [Symbol.dispose]: () => child.kill() };
}

/** In the second process: what it was handed. */
export function handed<T>(): Promise<T> {
  return new Promise((resolve) => process.on("message", resolve)); // goes on listening, which keeps the process
}

export function tell(text: string): void {
  process.send!(text);
}
