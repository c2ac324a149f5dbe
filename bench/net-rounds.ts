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
  "weather-1024": { bytes: 1024, count: 16_384 },
  "weather-bulk": { bytes: 1024 * 1024, count: 16 },
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
    else values.push(workload.endsWith("bulk") ? (bytes * count) / ms / 1_000 : (1_000 * count) / ms);
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

/** Where the two processes are when each is behind a router that lets in replies only: what bench/two-routers.ts lays out. */
export interface Behind {
  /** Outside addresses: of who measures, of who answers. The routers leave ports as they are. */
  measurer: string;
  answerer: string;
  /** The command that runs another one behind the answerer's router. */
  through: string[];
}

export const behind = process.env.BENCH_BEHIND ? (JSON.parse(process.env.BENCH_BEHIND) as Behind) : undefined;
export const PORTS = { measurer: 41_000, answerer: 41_001 };

/** Opens one's own router to the other, by a packet that the other's may drop. */
export async function openRouter(own: keyof typeof PORTS): Promise<void> {
  const other = own === "measurer" ? "answerer" : "measurer";
  const socket = await Bun.udpSocket({ hostname: "0.0.0.0", port: PORTS[own], socket: { error: () => {} } });
  socket.send("opens", PORTS[other], behind![other]);
  socket.close();
}

export interface Answerer extends Disposable {
  /** What it told: where it listens. */
  readonly told: string;
}

/** Starts `path` as a second process, hands it `message` (a secret goes by no other way) and waits for what it tells. */
export async function startAnswerer(path: string, args: string[], message: unknown): Promise<Answerer> {
  const told = Promise.withResolvers<string>();
  const child = Bun.spawn([...(behind?.through ?? []), process.execPath, path, ...args], {
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
