// Workloads of the network: two processes on loopback.
import { join } from "node:path";
import { type Contender, program, ROOT, type Workload } from "./contender.ts";
import type { NetWorkload } from "./net-rounds.ts";

const bench = (path: string) => join(ROOT, "bench", path);
const PYTHON = "/usr/bin/python3";
const BARE_TLS = "bare Bun TLS";
const ZMQ = "libzmq (pyzmq), no encryption";

/** Both processes on one core: what is left is work, not the scheduler's luck. */
const PINNED = ["taskset", "-c", "0"];

function contenders(workload: NetWorkload, prefix: string[] = []): Contender[] {
  const bun = (name: string, ...args: string[]) => program(name, [...prefix, process.execPath, ...args]);
  return [
    bun("mesh, links", bench("net-link.ts"), workload),
    bun(BARE_TLS, bench("floor/net-sockets.ts"), workload, "tls"),
    bun("bare Bun TCP", bench("floor/net-sockets.ts"), workload, "tcp"),
    ...(hasZmq() ? [program(ZMQ, [...prefix, PYTHON, bench("peers/net_zmq.py"), workload])] : []),
  ];
}

function hasZmq(): boolean {
  if (!Bun.which(PYTHON)) return false;
  return Bun.spawnSync([PYTHON, "-c", "import zmq"], { stderr: "ignore" }).success;
}

async function roundTrip(): Promise<Workload> {
  return {
    title: "round trip, 64 B, TCP",
    unit: "µs",
    lessIsBetter: true,
    contenders: contenders("round-trip"),
    bars: [
      { text: "at most 1.5 times bare Bun TLS", against: BARE_TLS, ratio: 1 / 1.5 },
      { text: "ahead of libzmq", against: ZMQ, ratio: 1 },
    ],
  };
}

async function roundTripPinned(): Promise<Workload> {
  const workload = await roundTrip();
  return {
    ...workload,
    title: `${workload.title}, both processes on one core`,
    contenders: Bun.which("taskset") ? contenders("round-trip", PINNED) : [],
  };
}

async function oneWaySmall(): Promise<Workload> {
  return {
    title: "one way, 64 B, TCP (bare: 64 KiB at a time)",
    unit: "messages/s",
    lessIsBetter: false,
    contenders: contenders("one-way-64"),
    bars: [{ text: "at least 1,000,000/s", atLeast: 1_000_000 }],
  };
}

async function oneWay(): Promise<Workload> {
  return {
    title: "one way, 1 KiB, TCP (bare: 64 KiB at a time)",
    unit: "messages/s",
    lessIsBetter: false,
    contenders: contenders("one-way-1024"),
    bars: [{ text: "at least 400,000/s", atLeast: 400_000 }],
  };
}

async function bulk(): Promise<Workload> {
  return {
    title: "bulk, 1 MiB at a time, TCP",
    unit: "MB/s",
    lessIsBetter: false,
    contenders: contenders("bulk"),
    bars: [{ text: "at least 0.8 of bare Bun TLS", against: BARE_TLS, ratio: 0.8 }],
  };
}

export const net = [roundTrip, roundTripPinned, oneWaySmall, oneWay, bulk];
