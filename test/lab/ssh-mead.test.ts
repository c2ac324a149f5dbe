// What mesh was made for: workers on one private LAN that nobody outside can dial, reached by SSH through a jump host; the
// user's machine behind a NAT of its own. Nobody there can dial the user's machine: with a rendezvous on the outside both go through
// their routers to each other, without one the SSH channel carries it all.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Status } from "../../core/coordinator/answers.ts";
import { until } from "../support/until.ts";
import { missingForSshLab, SshLab } from "./ssh-hosts.ts";

const missing = missingForSshLab();
const example = (name: string) => readFileSync(new URL(`../../examples/${name}`, import.meta.url), "utf8");
const CONFIG = example("behind-routers/mesh.toml");
const WITHOUT_RENDEZVOUS = CONFIG.replace(/^\[rendezvous\]\nssh.*$/m, "");

/** Two processes on the two workers, each with a pipe to the other, and the script that reads what came round. */
const JOB = `import { type Funnel, Process, pipe, type Spout, self } from "mesh";
const [first, firstOut] = pipe<string>();
const [between, betweenOut] = pipe<string>();
const [last, lastOut] = pipe<string>();
async function pass(input: Spout<string>, output: Funnel<string>): Promise<void> {
  for await (const text of input) await output.send(text + " " + self.node);
  await output.close();
}
const a = new Process(pass, { args: [firstOut, between], host: "node0" });
const b = new Process(pass, { args: [betweenOut, last], host: "node1" });
await Promise.all([a.start(), b.start()]);
const got: string[] = [];
for (let i = 0; i < 50; i++) {
  await first.send("word " + i);
  got.push(await lastOut.receive({ timeoutMs: 10_000 }));
  console.error("round " + i);
  await Bun.sleep(60);
}
await first.close();
const ends = [await a.join(), await b.join()];
console.log(JSON.stringify({ got, ends: ends.map(({ exitCode }) => exitCode) }));
`;

const ROUND = { got: Array.from({ length: 50 }, (_, i) => `word ${i} node0 node1`), ends: [0, 0] };

describe.skipIf(missing)(
  `workers behind a jump host, desk behind a NAT${missing ? ` (skipped: ${missing})` : ""}`,
  () => {
    let lab: SshLab;

    beforeAll(async () => {
      lab = await SshLab.start({
        segments: { office: { letsOut: true }, rack: { letsOut: true, forwards: {} } },
        deskIn: "office",
        hosts: {
          jump: { segments: ["outside", "rack"] },
          vps: { hasBinary: true },
          node0: { hasBinary: true, segments: ["rack"], jump: "jump" },
          node1: { hasBinary: true, segments: ["rack"], jump: "jump" },
        },
        files: {
          "mesh.toml": CONFIG,
          "job.ts": JOB,
          "workers.ts": `import { pool, self } from "mesh";
const [answers] = await pool({ hosts: ["node0"] }).apply(() => pool({ hosts: ["node1"] }).map(() => self.node, [1]));
console.log(answers);`,
          "pipe.ts": example("pipe.ts"),
          "round-trip.ts": example("behind-routers/round-trip.ts"),
        },
      });
    });
    afterAll(async () => {
      await lab?.[Symbol.asyncDispose]();
    });

    const status = async () => JSON.parse((await lab.succeed(["status", "--json"])).stdout) as Status;
    /** How a node says that it reaches each other one. */
    const pathsOf = async (name: string) => {
      const { nodes } = await status();
      const peers = nodes.find((node) => node.name === name)?.peers ?? [];
      return Object.fromEntries(peers.map((peer) => [peer.name?.replace(/^run-.*/, "head"), peer.path]));
    };

    test("F2 F4 F22 F35 F91 with a rendezvous outside: up, the routers are gone through, and the LAN is used inside", async () => {
      lab.folder.write({ "mesh.toml": CONFIG });
      await lab.succeed(["up"]);
      const isPunched = async () => (await pathsOf("node0")).coordinator === "punch";
      await until(isPunched, { what: "node0 to reach the coordinator through both routers", timeoutMs: 30_000 });
      await using run = lab.start(["run", "job.ts"]);
      await run.prints(/^round 5$/m, "stderr");
      await until(async () => (await pathsOf("node0")).head === "punch", { what: "head and node0", timeoutMs: 20_000 });
      await run.prints(/^round 49$/m, "stderr");
      const { stdout } = await run.ended();
      expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toEqual(ROUND);
      expect((await lab.succeed(["run", "pipe.ts", "node0"])).stdout).toContain("got ANYWHERE!");
      const words = (await lab.succeed(["run", "round-trip.ts"])).stdout.trim().split("\n");
      expect([words.length, words.at(-1)]).toEqual([50, "word 49 node0 node1"]);
      expect((await lab.succeed(["run", "workers.ts"])).stdout).toBe('[ "node1" ]\n');
      await until(async () => (await pathsOf("node0")).node1 === "tcp", { what: "the workers' own path, on the LAN" });
      await lab.succeed(["down", "--purge"]);
      await lab.nothingRuns();
    }, 110_000);

    test("F91 F93 without: up, pipes between both workers and the script, down", async () => {
      lab.folder.write({ "mesh.toml": WITHOUT_RENDEZVOUS });
      await lab.succeed(["up"]);
      const { nodes } = await status();
      const workers = nodes.filter(({ role }) => role === "worker");
      expect(workers.map(({ name, state }) => [name, state])).toEqual([
        ["node0", "up"],
        ["node1", "up"],
      ]);
      const { stdout } = await lab.succeed(["run", "job.ts"]);
      expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toEqual(ROUND);
      expect((await lab.succeed(["run", "pipe.ts", "node1"])).stdout).toContain("got ANYWHERE!");
      await lab.succeed(["down", "--purge"]);
      for (const { name, files } of lab.hosts.values()) expect([name, files]).toEqual([name, []]);
      await lab.nothingRuns();
    });
  },
);
