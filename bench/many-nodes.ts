// What a coordinator costs with many idle nodes: `bun bench/many-nodes.ts [500]`. The nodes are real ones, with certificates,
// sessions over TLS, heartbeats and reports, all in this process; the coordinator is a process of its own.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { meshTransport } from "../cmd/transport.ts";
import { systemClock } from "../core/clock.ts";
import { localAccess } from "../core/member/access.ts";
import { Member } from "../core/member/member.ts";
import { Node } from "../core/node/node.ts";
import { newNodeNumber } from "../core/node/number.ts";
import { Codec } from "../core/wire/codec.ts";
import { UnixTransport } from "../transports/unix/unix-transport.ts";
import { MESH } from "./contender.ts";

const COUNT = Number(process.argv[2] ?? 500);
const SETTLE_MS = 10_000;
const MEASURE_MS = 20_000;
const TICKS_EACH_S = 100; // USER_HZ

const folder = mkdtempSync(join(tmpdir(), "mesh-bench-"));
process.env.XDG_STATE_HOME = join(folder, "state");
const silent = { info: () => {}, warn: () => {}, error: () => {} };
const facts = {
  host: hostname(),
  slots: 1,
  cores: 1,
  arch: "x64",
  memoryBytes: 1e9,
  tags: [],
  version: "0",
  build: "bench",
};
const report = () => ({ slotsUsed: 0, load1: 0, memory: { usedBytes: 0, totalBytes: 1e9 } });

async function joinOne(number: number): Promise<Member> {
  const access = await localAccess(new UnixTransport(), "mesh", "worker", `node-${number}`);
  if (!access) throw new Error("the coordinator is not there");
  const node = new Node({ node: newNodeNumber(), slot: 0 }, new Codec());
  const member: Member = new Member({
    ...access,
    node,
    transport: meshTransport({ credentials: () => member.credentials }),
    listen: [],
    build: "bench",
    timing: {},
    clock: systemClock,
    log: silent,
    facts: { ...facts, since: Date.now() },
    report,
    changed: () => {},
  });
  node.onPeerLost = (peer, error) => member.peerLost(peer, error);
  await member.start();
  return member;
}

/** CPU seconds and resident bytes of a process so far. */
function costOf(pid: number): { cpuS: number; rssBytes: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const rss = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1];
  return { cpuS: (Number(fields[11]) + Number(fields[12])) / TICKS_EACH_S, rssBytes: 1024 * Number(rss) };
}

const coordinator = Bun.spawn([MESH, "coordinator", "--listen", "tcp://127.0.0.1:0"], {
  env: process.env,
  stdio: ["ignore", "ignore", Bun.file(join(folder, "log"))],
});
try {
  while (!existsSync(join(folder, "state/mesh/mesh/coordinator.sock"))) await Bun.sleep(20);
  const alone = costOf(coordinator.pid);
  const start = performance.now();
  for (let i = 0; i < COUNT; i += 20) {
    await Promise.all(Array.from({ length: Math.min(20, COUNT - i) }, (_, j) => joinOne(i + j)));
  }
  const joinedMs = performance.now() - start;
  await Bun.sleep(SETTLE_MS);
  const before = costOf(coordinator.pid);
  await Bun.sleep(MEASURE_MS);
  const after = costOf(coordinator.pid);
  const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
  console.log(`${COUNT} nodes joined in ${(joinedMs / 1000).toFixed(1)} s`);
  console.log(`coordinator: ${mib(alone.rssBytes)} alone, ${mib(after.rssBytes)} with them`);
  console.log(`idle: ${((100_000 * (after.cpuS - before.cpuS)) / MEASURE_MS).toFixed(1)} % of a core`);
} finally {
  coordinator.kill("SIGKILL");
  await coordinator.exited;
  rmSync(folder, { recursive: true });
}
process.exit();
