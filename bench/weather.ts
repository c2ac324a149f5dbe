// Throughput where packets take 10 ms each way and get lost, beside bare node:quic through the same wire (bench/weather), which has the
// windows and the control of congestion that mesh has: with its own choice (cubic) it carries 1 MB/s or less.
import { join } from "node:path";
import { program, ROOT, type Workload } from "./contender.ts";
import type { NetWorkload } from "./net-rounds.ts";
import { TwoRouters } from "./two-routers.ts";

const BARE = "bare node:quic, bbr";
const DELAY_MS = 10;

async function workload(kind: NetWorkload, title: string, unit: string, loss: number): Promise<Workload> {
  const routers = TwoRouters.lay();
  const shape = {
    title: `${title}, punched, ${2 * DELAY_MS} ms of round trip, ${100 * loss} % of packets lost each way`,
    unit,
    lessIsBetter: false,
    bars: [{ text: "at least 0.7 of bare", against: BARE, ratio: 0.7 }],
  };
  if (!routers) return { ...shape, contenders: [] };
  await routers.weather({ delayMs: DELAY_MS, loss });
  const of = (name: string, path: string, ...args: string[]) => {
    const command = [process.execPath, "--no-warnings", join(ROOT, "bench", path), kind, ...args];
    return program(name, routers.measurer(["env", "BENCH_CONGESTION=bbr", ...command]));
  };
  const contenders = [of("mesh, node to node", "net-node.ts", "udp"), of(BARE, "floor/net-quic.ts")];
  return { ...shape, contenders, end: () => routers[Symbol.dispose]() };
}

export const weather = [0, 0.01, 0.05, 0.1].flatMap((loss) => [
  () => workload("weather-1024", "one way, 1 KiB", "messages/s", loss),
  () => workload("weather-bulk", "bulk, 1 MiB", "MB/s", loss),
]);
