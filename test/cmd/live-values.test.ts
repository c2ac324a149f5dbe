import { expect, it } from "vitest";
import { liveValues } from "../../cmd/live-values.ts";
import { until } from "../support/until.ts";
import { type Answers, around, FakeMesh, jobOf, nodeOf, Screen, statusOf } from "./fake-mesh.ts";

const nodes = [nodeOf({ name: "coordinator", role: "coordinator" }), nodeOf({ name: "gpu1", host: "rack1" })];
const meshOf = (answers: Answers = {}) =>
  new FakeMesh({
    status: () => statusOf({ nodes, jobs: [jobOf({ job: 7 })] }),
    jobs: () => ({ jobs: [jobOf({ job: 7 }), jobOf({ job: 6, name: "a\tb", state: "done" })] }),
    ...answers,
  });

async function offered(words: string[], mesh = meshOf()) {
  const values = await liveValues(words, around(mesh, new Screen()));
  expect(mesh.open).toBe(0);
  return values.map(({ value }) => value);
}

it("live values (F88): numbers of jobs and names of nodes, where they are meant", async () => {
  expect(await offered(["kill", ""])).toEqual(["7", "coordinator", "gpu1"]);
  expect(await offered(["kill", "7", "g"])).toEqual(["7", "coordinator", "gpu1"]);
  expect(await offered(["attach", ""])).toEqual(["7"]);
  expect(await offered(["logs", ""])).toEqual(["7", "6", "gpu1"]);
  expect(await offered(["exec", ""])).toEqual(["gpu1"]);
  expect(await offered(["revoke", ""])).toEqual(["gpu1"]);
  expect(await offered(["status", "--peers", ""])).toEqual(["coordinator", "gpu1"]);
  expect(await offered(["doctor", "--path", "g"])).toEqual(["coordinator", "gpu1"]);
  expect(await offered(["logs", "7", "--host", ""])).toEqual(["coordinator", "gpu1"]);
  expect(await offered(["logs", "7", "--host=g"])).toEqual(["coordinator", "gpu1"]);
});

it("live values say what they are, in one line", async () => {
  const values = await liveValues(["logs", ""], around(meshOf(), new Screen()));
  expect(values.map(({ description }) => description)).toEqual(["primes, running", "a b, done", "worker on rack1"]);
  const [, , node] = await liveValues(["kill", ""], around(meshOf(), new Screen()));
  expect(node).toEqual({ value: "gpu1", description: "worker on rack1" });
});

it("live values: the mesh is not asked for anything else", async () => {
  for (const words of [
    [],
    [""],
    ["kill"],
    ["run", ""],
    ["kill", "-"],
    ["logs", "7", "--ho"],
    ["doctor", ""],
    ["constructor", ""],
  ]) {
    const mesh = meshOf();
    expect(await offered(words, mesh)).toEqual([]);
    expect(mesh.opened).toBe(0);
  }
});

it("live values: of the mesh that is named", async () => {
  expect(await offered(["kill", "--mesh", "lab", ""])).toHaveLength(3);
  expect(await offered(["kill", "--mesh=lab", ""])).toHaveLength(3);
  expect(await offered(["kill", "--mesh", "other", ""])).toEqual([]);
});

it("live values: nothing, without a word, when the mesh is not up, refuses, or is slower than 300 ms", async () => {
  const down = meshOf();
  down.isUp = false;
  expect(await offered(["kill", ""], down)).toEqual([]);
  const refusing = meshOf({
    status: () => {
      throw new Error("no");
    },
  });
  expect(await offered(["kill", ""], refusing)).toEqual([]);
  const slow = meshOf({ status: () => new Promise(() => {}) });
  const screen = new Screen();
  const values = liveValues(["kill", ""], around(slow, screen));
  await until(() => slow.asked.length > 0, { what: "the question" });
  slow.clock.advance(300);
  expect(await values).toEqual([]);
  expect(screen.all).toBe("");
});
