// More nodes beside a script, and their end.
import { expect, test } from "vitest";
import { resultOf, runScript } from "../support/mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";

test("F18 F13 fork starts nodes with slots of their own; shutdown ends one with all it started; the others end with the job", async () => {
  const script = `import { fork, nodes, onNode, pool, self, shutdown } from "mesh"; ${out}
const events: string[] = [];
onNode(({ event, node }) => events.push(event + " " + node.name));
const [one, two] = await fork(2, { slots: 2 });
const where = await pool({ hosts: "fork-*" }).apply(() => self.node + "/" + self.slot);
await pool({ hosts: one!.name }).apply(() => void Bun.spawn(["sh", "-c", "sleep 300 &"], { env: process.env }));
await shutdown(one!);
const left = (await nodes()).map((node) => node.name);
out([where, events, left, await pool({ hosts: two!.name }).map((x: number) => x * 2, [1, 2])]);`;
  expect(await resultOf(script)).toEqual([
    ["fork-1/1", "fork-1/2", "fork-2/1", "fork-2/2"],
    ["online fork-1", "online fork-2", "offline fork-1"],
    ["here", "fork-2"],
    [2, 4],
  ]);
});

test("F18 shutdown of a node that is not there, fork in a task and of no number are errors", async () => {
  const script = `import { fork, pool, shutdown } from "mesh"; ${out}
const words = async (run: () => unknown) => { try { return await run(); } catch (error) { return (error as Error).message; } };
out([await words(() => shutdown("her")), await words(() => fork(0)), await words(() => pool().submit(async () => (await fork(1)).length)), await words(() => shutdown(7 as never))]);`;
  expect(await resultOf(script)).toEqual([
    expect.stringContaining("there is no node her"),
    "fork: the number of nodes is a whole number of 1 to 64, not 0",
    expect.stringContaining("fork is for the script itself"),
    "shutdown takes a node or its name, not 7",
  ]);
});

test("X26 F95 kill -9 of the script leaves no forked node", async () => {
  const { status } = await runScript(
    `import { fork } from "mesh"; await fork(2); process.kill(process.pid, "SIGKILL"); await Bun.sleep(60_000);`,
  );
  expect(status).toBe(137);
});
