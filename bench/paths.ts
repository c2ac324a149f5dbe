// How long calls between two workers wait while their path changes, with the real binary, default limits and routers in between: the
// longest call of a job that never stops calling. The network is the tests' lab; for root alone.

import { CENTRE, DESK } from "../test/lab/lab-mesh.ts";
import { missingForNatLab } from "../test/lab/namespaces.ts";
import { NatMatrix, type Stand } from "../test/lab/nat-matrix.ts";
import type { MeshProcess } from "../test/support/mesh.ts";
import { until } from "../test/support/until.ts";
import type { Workload } from "./contender.ts";

type Pair = [string, string];

const behind = (nat: "port" | "symmetric"): Stand => ({ nat, router: { letsOut: true, nat } });
const STANDS: Record<string, Stand> = {
  port1: behind("port"),
  port2: behind("port"),
  symmetric1: behind("symmetric"),
  symmetric2: behind("symmetric"),
  public: { nat: "none" },
  meet: { nat: "none" },
};
const PUNCHED: Pair = ["port1", "port2"];
const PUBLIC: Pair = ["port1", "public"];
const RELAYED: Pair = ["symmetric1", "symmetric2"];
const LIMIT_MS = 600_000;

const CALLS = `import { pool } from "mesh";
const [a, b, gate] = process.argv.slice(2) as [string, string, string];
const longestMs = await pool({ hosts: a }).submit(async (b: string, gate: string) => {
  const { existsSync } = await import("node:fs");
  const there = pool({ hosts: b });
  let longestMs = 0;
  await there.submit((n: number) => n, 0);
  for (let calls = 1; !existsSync(gate); calls++) {
    const begun = performance.now();
    if ((await there.submit((n: number) => n + 1, calls)) !== calls + 1) throw new Error("a wrong answer");
    longestMs = Math.max(longestMs, performance.now() - begun);
    if (calls % 10 === 0) console.log("ten calls");
  }
  return longestMs;
}, b, gate);
console.log("longest", longestMs);`;

const FIRST = `import { pool } from "mesh";
const begun = performance.now();
await pool({ hosts: "port2" }).submit((n: number) => n, 1);
console.log(JSON.stringify(performance.now() - begun));`;

/** A mesh, and what can happen to its paths. */
class Paths {
  readonly #matrix: NatMatrix;
  #meet: MeshProcess;
  #runs = 0;

  private constructor(matrix: NatMatrix, meet: MeshProcess) {
    this.#matrix = matrix;
    this.#meet = meet;
  }

  static async start(): Promise<Paths> {
    const matrix = await NatMatrix.start(STANDS, { desk: behind("port"), config: "", limitMs: LIMIT_MS });
    const { mesh, network } = matrix;
    const toPublic = ["-d", network.address("public"), "-p", "tcp", "-j", "DROP"];
    network.inside("port1-router", "iptables", "-w", "-I", "FORWARD", ...toPublic);
    const env = { MESH_TOKEN: await mesh.token("rendezvous") };
    const meet = mesh.start("meet", ["rendezvous", "--join", mesh.address], { env, limitMs: LIMIT_MS });
    await meet.prints(/ ready /, "stderr");
    return new Paths(matrix, meet);
  }

  /** From the first use of a host to its first answer: introduction, hole, slot and all. */
  async first(): Promise<number> {
    return (await this.#matrix.mesh.resultOf(FIRST)) as number;
  }

  async silence(): Promise<number> {
    const ms = await this.#longestDuring(PUNCHED, async () => {
      this.#block("-I");
      await until(() => this.#isRelayed(PUNCHED), { what: "a relay", timeoutMs: 20_000 });
    });
    this.#block("-D");
    return ms;
  }

  /** From the end of a silence until what is sent goes straight again. */
  async back(): Promise<number> {
    let ms = 0;
    await this.#longestDuring(PUNCHED, async () => {
      this.#block("-I");
      await until(() => this.#isRelayed(PUNCHED), { what: "a relay", timeoutMs: 20_000 });
      const begun = performance.now();
      this.#block("-D");
      await until(() => this.#isDirect(PUNCHED), { what: "a hole", timeoutMs: 60_000 });
      ms = performance.now() - begun;
    });
    return ms;
  }

  async renamed(pair: Pair): Promise<number> {
    return await this.#longestDuring(pair, async () => {
      this.#rename();
      const goesOn = async () => (await this.#isDirect(pair)) || (await this.#isRelayed(pair));
      await until(goesOn, { what: "calls to go on", timeoutMs: 20_000 });
    });
  }

  /** Of two rendezvous the one that relays: the coordinator, or the other. */
  async relayKilled(): Promise<number> {
    const { mesh, network } = this.#matrix;
    let isMeet = false;
    const ms = await this.#longestDuring(RELAYED, async () => {
      isMeet = await this.#grows("symmetric1", network.address("meet"));
      const killed = isMeet ? this.#meet : mesh.coordinator;
      killed.signal("SIGKILL");
      await killed.ended();
      const other = network.address(isMeet ? CENTRE : "meet");
      await until(() => this.#grows("symmetric1", other), { what: "another relay", timeoutMs: 20_000 });
    });
    if (isMeet) await this.#startMeet();
    else await this.#startCoordinator();
    return ms;
  }

  async end(): Promise<void> {
    this.#meet.signal("SIGTERM");
    await this.#meet.ended();
    await this.#matrix[Symbol.asyncDispose]();
  }

  /** It knows of all nodes at once, and can place a job on those alone that came back. */
  async #startCoordinator(): Promise<void> {
    const { mesh } = this.#matrix;
    await mesh.startCoordinator();
    for (const name of RELAYED) await mesh.coordinator.prints(new RegExp(`node connected .*name=${name}\\b`), "stderr");
  }

  async #startMeet(): Promise<void> {
    const { mesh } = this.#matrix;
    this.#meet = mesh.start("meet", ["rendezvous", "--join", mesh.address], { limitMs: LIMIT_MS });
    await this.#meet.prints(/ ready /, "stderr");
  }

  /** The longest call while that happens, once the path is the one to begin with. */
  async #longestDuring(pair: Pair, during: () => Promise<void>): Promise<number> {
    const { mesh } = this.#matrix;
    const gate = mesh.folders.get(DESK)!.at(`gate-${this.#runs++}`);
    mesh.folders.get(DESK)!.write({ "calls.ts": CALLS });
    await using run = mesh.start(DESK, ["run", "calls.ts", ...pair, gate]);
    const goesOn = async () => {
      const before = run.stdout.length;
      await until(() => run.stdout.length > before + 100, { what: "calls to go on", timeoutMs: 20_000 });
    };
    await goesOn();
    const isReady = () => (pair === RELAYED ? this.#isRelayed(pair) : this.#isDirect(pair));
    await until(isReady, { what: `the path of ${pair}`, timeoutMs: 30_000 });
    await during();
    await goesOn();
    await Bun.write(gate, "");
    const { status, stdout, stderr } = await run.ended();
    const longest = /^longest (\S+)$/m.exec(stdout); // what the workers print may come later
    if (status !== 0 || !longest) throw new Error(`calls ended with ${status}: ${stderr}`);
    return Number(longest[1]);
  }

  #block(how: "-I" | "-D"): void {
    const { network } = this.#matrix;
    for (const [own, other] of [PUNCHED, PUNCHED.toReversed() as Pair]) {
      const rule = ["-p", "udp", "-d", this.#matrix.outsideOf(other), "-j", "DROP"];
      network.inside(`${own}-router`, "iptables", "-w", how, "FORWARD", ...rule);
    }
  }

  #rename(): void {
    const inside = (...command: string[]) => this.#matrix.network.inside("port1-router", ...command);
    const first = 20_000 + 100 * (this.#runs % 400);
    const range = `${first}-${first + 99}`;
    const rename = ["-o", "net0", "-p", "udp", "-j", "MASQUERADE", "--to-ports", range];
    inside("iptables", "-w", "-t", "nat", "-I", "POSTROUTING", ...rename);
    inside("conntrack", "-D", "-p", "udp");
  }

  async #isDirect([a, b]: Pair): Promise<boolean> {
    return await this.#grows(a, this.#matrix.outsideOf(b));
  }

  async #isRelayed([a]: Pair): Promise<boolean> {
    const { network } = this.#matrix;
    return (await this.#grows(a, network.address("meet"))) || (await this.#grows(a, network.address(CENTRE)));
  }

  /** Whether the calls go between a worker and that address: more than heartbeats and probes do. */
  async #grows(worker: string, address: string): Promise<boolean> {
    const { network } = this.#matrix;
    const table = () => network.inside(`${worker}-router`, "conntrack", "-L", "-p", "udp", "-d", address);
    const bytes = () => [...table().matchAll(/\bbytes=(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
    const before = bytes();
    await Bun.sleep(50);
    return bytes() - before > 5_000;
  }
}

async function changes(): Promise<Workload> {
  const shape = { title: "changes of paths: longest wait of a call", unit: "ms", lessIsBetter: true, unlike: true };
  if (missingForNatLab()) return { ...shape, contenders: [], bars: [] };
  const paths = await Paths.start();
  const rows: [name: string, limitMs: number | undefined, run: () => Promise<number>][] = [
    ["first answer, new head", 1_000, () => paths.first()],
    ["X7 renamed, public by UDP", 1_000, () => paths.renamed(PUBLIC)],
    ["X7 renamed, punched", 5_000, () => paths.renamed(PUNCHED)],
    ["hole falls silent", 5_000, () => paths.silence()],
    ["hole possible again: until direct", undefined, () => paths.back()],
    ["X11 relay killed", 5_000, () => paths.relayKilled()],
  ];
  const only = process.env.BENCH_ONLY;
  const chosen = rows.filter(([name]) => only === undefined || name.includes(only));
  return {
    ...shape,
    contenders: chosen.map(([name, , run]) => ({ name, run })),
    bars: chosen.flatMap(([name, limit]) =>
      limit === undefined ? [] : [{ text: `${name}: at most ${limit} ms`, of: name, limit }],
    ),
    end: () => paths.end(),
  };
}

export const paths = [changes];
