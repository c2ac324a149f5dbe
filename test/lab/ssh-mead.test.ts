// What mesh was made for: workers on one private LAN that nobody outside can dial, reached by SSH through a jump host; the
// user's machine behind a NAT of its own. Nobody there can dial the user's machine, so the SSH channel carries it all.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Status } from "../../core/coordinator/answers.ts";
import { missingForSshLab, SshLab } from "./ssh-hosts.ts";

const missing = missingForSshLab();
const CONFIG = `[hosts.node0]
ssh = "node0"
slots = 2
[hosts.node1]
ssh = "node1"
slots = 2
`;

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
}
await first.close();
const ends = [await a.join(), await b.join()];
console.log(JSON.stringify({ got, ends: ends.map(({ exitCode }) => exitCode) }));
`;

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
          node0: { hasBinary: true, segments: ["rack"], jump: "jump" },
          node1: { hasBinary: true, segments: ["rack"], jump: "jump" },
        },
        files: {
          "mesh.toml": CONFIG,
          "job.ts": JOB,
          "pipe.ts": readFileSync(new URL("../../examples/pipe.ts", import.meta.url), "utf8"),
        },
      });
    });
    afterAll(async () => {
      await lab?.[Symbol.asyncDispose]();
    });

    test("F91 F93 up, pipes between both workers and the script, down", async () => {
      await lab.succeed(["up"]);
      const { nodes } = JSON.parse((await lab.succeed(["status", "--json"])).stdout) as Status;
      const workers = nodes.filter(({ role }) => role === "worker");
      expect(workers.map(({ name, state }) => [name, state])).toEqual([
        ["node0", "up"],
        ["node1", "up"],
      ]);
      const { stdout } = await lab.succeed(["run", "job.ts"]);
      expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toEqual({
        got: Array.from({ length: 50 }, (_, i) => `word ${i} node0 node1`),
        ends: [0, 0],
      });
      expect((await lab.succeed(["run", "pipe.ts", "node1"])).stdout).toContain("got ANYWHERE!");
      await lab.succeed(["down", "--purge"]);
      for (const { name, files } of lab.hosts.values()) expect([name, files]).toEqual([name, []]);
      await lab.nothingRuns();
    });
  },
);
