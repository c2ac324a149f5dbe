// Who is in the mesh, as script and tasks see it while workers come and go, and the end of workers by a job.
import { expect, test } from "vitest";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { noted, open, prelude, whenNoted } from "./notes.ts";

test("F12 F14 F15 F18 script and tasks hear of workers that go and come; shutdown ends one for all, and a name is free then", async () => {
  await using mesh = await TestMesh.start();
  const script = `import { locateNode, nodes, onNode, pool, self, shutdown } from "mesh"; ${prelude}
const listen = (who: string) => onNode(({ event, node }) => { if (node.role === "worker") note("heard by " + who, event + " " + node.name); });
listen("script");
const before = (await nodes()).find((node) => node.name === "w1")!;
const task = pool({ hosts: "w2" }).submit(async () => {
  onNode(({ event, node }) => { if (node.role === "worker") note("heard by task", event + " " + node.name); });
  note("listens", 1);
  while (!noted("heard by task").includes("online w1")) await Bun.sleep(2);
  const back = await locateNode("w1");
  await gate("end");
  return [back.node, (await nodes()).filter((node) => node.role === "worker").map((node) => node.name + " " + node.status).sort()];
});
while (noted("listens").length === 0) await Bun.sleep(2);
await pool({ hosts: "w1" }).submit(() => Bun.spawn(["sleep", "321"], { stdio: ["ignore", "ignore", "ignore"] }).unref());
await shutdown("w1");
note("shut down", 1);
const gone = await shutdown("w1").catch((e) => [e.code, e.message]);
const again = await locateNode("w1", { timeoutMs: 20_000 });
const unknown = await shutdown("w3").catch((e) => [e.code, e.message]);
const used = await pool({ hosts: "w1" }).submit(() => self.node);
out([await task, again.node, again.node !== before.node, gone ?? null, unknown, used]);`;
  await using run = mesh.start(script, { limitMs: 28_000 });
  await whenNoted(mesh.folder, "shut down");
  const { status: ended } = await mesh.worker("w1").ended(); // it had ended before shutdown returned
  expect(ended).toBe(0);
  expect(run.processes.filter(({ command }) => command[0] === "sleep")).toEqual([]);
  await mesh.startWorker("w1");
  const wanted = ["offline w1", "online w1"];
  for (const who of ["script", "task"]) {
    await until(() => noted(mesh.folder, `heard by ${who}`).length >= 2, { what: `the events of the ${who}` });
    expect(noted(mesh.folder, `heard by ${who}`)).toEqual(wanted);
  }
  open(mesh.folder, "end");
  const { stdout, stderr, status } = await run.ended();
  expect(status, stderr).toBe(0);
  const [[node, workers], again, isAnother, gone, unknown, used] = JSON.parse(stdout);
  expect([node, workers]).toEqual([again, ["w1 up", "w2 up"]]);
  expect([isAnother, used]).toEqual([true, "w1"]);
  expect(gone === null || gone[0] === "USAGE", String(gone)).toBe(true);
  expect(unknown).toEqual(["USAGE", expect.stringMatching(/there is no node "w3"; did you mean "w[12]"/)]);
});
