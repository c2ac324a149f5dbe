// Workloads of the relay of a rendezvous: UDP between two nodes, by way of a third process.
import { join } from "node:path";
import { program, ROOT, type Workload } from "./contender.ts";

const ROUNDS = join(ROOT, "bench/relay-rounds.ts");
const BARE = "bare Bun.udpSocket forwarder";
const DIRECT = "bare UDP, directly";

async function relayRate(): Promise<Workload> {
  const of = (name: string, kind: string) => program(name, [process.execPath, ROUNDS, "rate", kind]);
  return {
    title: "relay by UDP, 1,200 B, forwarded per core",
    unit: "packets/s",
    lessIsBetter: false,
    contenders: [of("mesh", "mesh"), of(BARE, "bare")],
    bars: [{ text: "at least as many as a bare forwarder", against: BARE, ratio: 1 }],
  };
}

/** All processes on one core: what is left is work, not the scheduler's luck. */
async function relayRoundTrip(): Promise<Workload> {
  const of = (name: string, kind: string) =>
    program(name, ["taskset", "-c", "0", process.execPath, ROUNDS, "round-trip", kind]);
  return {
    title: "relay by UDP, round trip, 64 B, all processes on one core",
    unit: "µs",
    lessIsBetter: true,
    contenders: Bun.which("taskset") ? [of("mesh", "mesh"), of(BARE, "bare"), of(DIRECT, "direct")] : [],
    bars: [
      { text: "adds no more than a bare hop: at most 1.05 times a bare forwarder", against: BARE, ratio: 1 / 1.05 },
    ],
  };
}

export const relay = [relayRate, relayRoundTrip];
