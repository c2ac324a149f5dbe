// Workloads of the network: two processes on loopback.
import { join } from "node:path";
import { type Contender, program, ROOT, type Workload } from "./contender.ts";
import type { NetWorkload } from "./net-rounds.ts";

const bench = (path: string) => join(ROOT, "bench", path);
const PYTHON = "/usr/bin/python3";
const BARE_TLS = "bare Bun TLS";
const BARE_QUIC = "bare node:quic";
const ZMQ = "libzmq (pyzmq), no encryption";

/** Both processes on one core: what is left is work, not the scheduler's luck. */
const PINNED = ["taskset", "-c", "0"];

/** The same over UDP; without libzmq, which has no UDP. */
function udpContenders(workload: NetWorkload, prefix: string[] = []): Contender[] {
  const bun = (name: string, ...args: string[]) =>
    program(name, [...prefix, process.execPath, "--no-warnings", ...args]);
  return [
    bun("mesh, node to node", bench("net-node.ts"), workload, "udp"),
    bun("mesh, links alone", bench("net-link.ts"), workload, "udp"),
    bun(BARE_QUIC, bench("floor/net-quic.ts"), workload),
  ];
}

function contenders(workload: NetWorkload, prefix: string[] = []): Contender[] {
  const bun = (name: string, ...args: string[]) => program(name, [...prefix, process.execPath, ...args]);
  return [
    bun("mesh, node to node", bench("net-node.ts"), workload, "tcp"),
    bun("mesh, links alone", bench("net-link.ts"), workload, "tcp"),
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

/** Three links each way: slot, node, the other node, slot. */
async function slotToSlot(): Promise<Workload> {
  const bun = (name: string, ...args: string[]) => program(name, [process.execPath, ...args]);
  return {
    title: "round trip, slot to slot on two nodes, one task and its result",
    unit: "µs",
    lessIsBetter: true,
    contenders: [
      bun("mesh", bench("mesh-job.ts"), bench("jobs/slot-to-slot.ts")),
      bun(BARE_TLS, bench("floor/net-sockets.ts"), "round-trip", "tls"),
    ],
    bars: [{ text: "at most 3 times bare Bun TLS, 64 B", against: BARE_TLS, ratio: 1 / 3 }],
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

async function udpRoundTrip(): Promise<Workload> {
  return {
    title: "round trip, 64 B, UDP",
    unit: "µs",
    lessIsBetter: true,
    contenders: udpContenders("round-trip"),
    bars: [{ text: "at most 1.3 times bare node:quic", against: BARE_QUIC, ratio: 1 / 1.3 }],
  };
}

async function udpRoundTripPinned(): Promise<Workload> {
  const workload = await udpRoundTrip();
  return {
    ...workload,
    title: `${workload.title}, both processes on one core`,
    contenders: Bun.which("taskset") ? udpContenders("round-trip", PINNED) : [],
  };
}

async function udpOneWay(): Promise<Workload> {
  return {
    title: "one way, 1 KiB, UDP (bare: 64 KiB at a time)",
    unit: "messages/s",
    lessIsBetter: false,
    contenders: udpContenders("one-way-1024"),
    bars: [{ text: "at least 0.8 of bare node:quic", against: BARE_QUIC, ratio: 0.8 }],
  };
}

async function udpBulk(): Promise<Workload> {
  return {
    title: "bulk, 1 MiB at a time, UDP",
    unit: "MB/s",
    lessIsBetter: false,
    contenders: udpContenders("bulk"),
    bars: [{ text: "at least 0.8 of bare node:quic", against: BARE_QUIC, ratio: 0.8 }],
  };
}

const IDLE_LINKS = 10_000;

/** X16. One run measures all three. */
async function idle(): Promise<Workload> {
  let figures: number[] = [];
  const first = program(
    "KB of memory for each",
    [process.execPath, bench("net-idle.ts"), String(IDLE_LINKS)],
    (line) => {
      figures = line.split(" ").map(Number);
      return figures[0]!;
    },
  );
  const next = (name: string, index: number): Contender => ({ name, run: async () => figures[index]! });
  const [ping, cpu] = [next("ms for a ping beside them, p99", 1), next("percent of a core, at rest", 2)];
  return {
    title: `${IDLE_LINKS.toLocaleString("en-US")} idle links to one listener`,
    unit: "as named",
    lessIsBetter: true,
    unlike: true,
    contenders: [first, ping, cpu],
    bars: [
      { text: "under 25 KB each", of: first.name, limit: 25 },
      { text: "ping p99 under 5 ms", of: ping.name, limit: 5 },
      { text: "under 5 % of a core", of: cpu.name, limit: 5 },
    ],
  };
}

export const net = [
  roundTrip,
  roundTripPinned,
  slotToSlot,
  oneWaySmall,
  oneWay,
  bulk,
  udpRoundTrip,
  udpRoundTripPinned,
  udpOneWay,
  udpBulk,
  idle,
];
