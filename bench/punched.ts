// Workloads of a path through two routers, beside bare node:quic through the same ones.
import { join } from "node:path";
import { type Bar, program, ROOT, type Workload } from "./contender.ts";
import type { NetWorkload } from "./net-rounds.ts";
import { TwoRouters } from "./two-routers.ts";

const BARE = "bare node:quic";

async function workload(kind: NetWorkload, title: string, bar: Bar): Promise<Workload> {
  const routers = TwoRouters.lay();
  const isRoundTrip = kind === "round-trip";
  const unit = isRoundTrip ? "µs" : kind === "bulk" ? "MB/s" : "messages/s";
  const shape = { title: `${title}, punched through two routers`, unit, lessIsBetter: isRoundTrip, bars: [bar] };
  if (!routers) return { ...shape, contenders: [] };
  const of = (name: string, path: string, ...args: string[]) =>
    program(name, routers.measurer([process.execPath, "--no-warnings", join(ROOT, "bench", path), kind, ...args]));
  const contenders = [of("mesh, node to node", "net-node.ts", "udp"), of(BARE, "floor/net-quic.ts")];
  return { ...shape, contenders, end: () => routers[Symbol.dispose]() };
}

const against = BARE;
export const punched = [
  () => workload("round-trip", "round trip, 64 B", { text: "at most 1.3 times bare", against, ratio: 1 / 1.3 }),
  () => workload("one-way-1024", "one way, 1 KiB", { text: "at least 0.8 of bare", against, ratio: 0.8 }),
  () => workload("bulk", "bulk, 1 MiB", { text: "at least 0.8 of bare", against, ratio: 0.8 }),
];
