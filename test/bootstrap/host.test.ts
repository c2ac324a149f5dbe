import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, test } from "vitest";
import { MeshError } from "../../core/errors.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { stopOrder, TestHost } from "./test-host.ts";

test("mesh host: F6 F9 a worker is started, found, left alone when asked again, and ended", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const order = await host.order("w1");
  const started = await host.talk<"start">(order);
  expect(started).toMatchObject({ word: "started", outcome: "started" });
  await mesh.nodeIs("w1", (node) => node?.state === "up" && node.slots === 2);
  expect(host.workers()).toEqual([started.pid]);
  expect(await host.talk<"start">(order)).toEqual({ ...started, outcome: "unchanged" });
  expect(host.certificates).toBe(1);
  const found = await host.talk<"list">({ op: "list", meshName: "mesh" });
  expect(found.workers).toEqual([{ mesh: "mesh", name: "w1", pid: started.pid, build: order.build }]);
  expect(
    await mesh.resultOf(
      "console.log(JSON.stringify(await pool().map((x: number) => x + 1, [1, 2])))".replace(
        /^/,
        'import { pool } from "mesh";',
      ),
    ),
  ).toEqual([2, 3]);
  expect(await host.talk<"stop">(stopOrder("w1"))).toMatchObject({ outcome: "stopped", removed: [] });
  expect(host.workers()).toEqual([]);
  expect(await host.talk<"stop">(stopOrder("w1"))).toMatchObject({ outcome: "absent" });
});

test("mesh host: F96 other settings replace a worker; a job that runs on the old one ends there, and its name is the new one's", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const first = await host.talk<"start">(await host.order("w1"));
  await mesh.nodeIs("w1", (node) => node?.state === "up");
  await using run = mesh.start(`
    import { existsSync, writeFileSync } from "node:fs";
    import { pool } from "mesh";
    const wait = async (folder: string) => {
      writeFileSync(folder + "/runs", "");
      while (!existsSync(folder + "/go")) await Bun.sleep(5);
      return process.ppid;
    };
    console.log((await pool({ hosts: ["w1"] }).map(wait, [${JSON.stringify(mesh.folder.path)}]))[0]);
  `);
  await until(() => existsSync(mesh.folder.at("runs")), { what: "the task to run" });
  const second = await host.talk<"start">(await host.order("w1", { slots: 3 }));
  expect(second.outcome).toBe("replaced");
  await mesh.nodeIs("w1", (node) => node?.state === "up" && node.slots === 3);
  expect(host.workers().toSorted()).toEqual([first.pid, second.pid].toSorted());
  const found = await host.talk<"list">({ op: "list", meshName: "mesh" });
  expect(found.workers.map(({ pid }) => pid)).toEqual([second.pid, first.pid]);
  mesh.folder.write({ go: "" });
  expect((await run.ended()).stdout.trim()).toBe(String(first.pid));
  await until(() => !host.workers().includes(first.pid), { what: "the old worker to end" });
  expect((await host.talk<"start">(await host.order("w1", { slots: 3 }))).outcome).toBe("unchanged");
  await host.talk<"stop">(stopOrder("w1"));
});

test("mesh host: the worker outlives the conversation and a hang-up, in a session of its own", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const { pid } = await host.talk<"start">(await host.order("w1"));
  const [, , , session] = statOf(pid);
  expect(session).toBe(String(pid));
  expect(readlinkSync(`/proc/${pid}/cwd`)).toBe("/");
  expect(readlinkSync(`/proc/${pid}/fd/1`)).toBe(host.at("w1", "worker.log"));
  expect(statSync(host.at("w1", "worker.log")).mode & 0o777).toBe(0o600);
  process.kill(pid, "SIGHUP");
  process.kill(-pid, "SIGHUP");
  await mesh.nodeIs("w1", (node) => node?.state === "up");
  expect(host.workers()).toEqual([pid]);
  await host.talk<"stop">(stopOrder("w1"));
});

test("mesh host: X30 a worker whose binary is removed goes on to start slots", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const command = host.installed();
  await host.talk<"start">(await host.order("w1"), { command });
  rmSync(command);
  const script =
    'import { pool } from "mesh"; console.log(JSON.stringify(await pool({ hosts: ["w1"] }).map((x: number) => x + 1, [1])))';
  expect(await mesh.resultOf(script)).toEqual([2]);
  await host.talk<"stop">(stopOrder("w1"));
});

test("mesh host: a coordinator that cannot be reached is told with its addresses, and no worker stays", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const certify = async (publicKey: Uint8Array) => {
    const joined = await host.certify(publicKey, "w1");
    return { ...joined, coordinators: ["tcp://127.0.0.1:1"] };
  };
  await expect(host.talk<"start">(await host.order("w1"), { certify })).rejects.toMatchObject({
    code: "UNREACHABLE",
    message: expect.stringContaining("127.0.0.1:1"),
  });
  expect(host.workers()).toEqual([]);
  expect(existsSync(host.at("w1", "worker.json"))).toBe(false);
  expect((await host.talk<"list">({ op: "list", meshName: "mesh" })).workers).toEqual([]);
});

test.each([
  ["refused", new MeshError("AUTHENTICATION", "no"), "AUTHENTICATION"],
  ["out of reach", new MeshError("UNREACHABLE", "gone"), "UNREACHABLE"],
])("mesh host: a certificate that is %s ends it, and nothing stays", async (_, error, code) => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const talk = host.talk<"start">(await host.order("w1"), { certify: () => Promise.reject(error) });
  await expect(talk).rejects.toMatchObject({ code });
  expect(host.processes()).toEqual([]);
});

test("mesh host: who gives up while the worker starts leaves none", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const stop = new AbortController();
  const progress = (text: string) => {
    if (text === "starting the worker") stop.abort();
  };
  const certify = async (publicKey: Uint8Array) => {
    const joined = await host.certify(publicKey, "w1");
    return { ...joined, coordinators: [`tcp://127.0.0.1:${silent.port}`] };
  };
  using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  const talk = host.talk<"start">(await host.order("w1"), { certify, progress, signal: stop.signal });
  await expect(talk).rejects.toMatchObject({ code: "CANCELLED" });
  expect(host.processes()).toEqual([]);
});

test("mesh host: two at once start one worker", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const order = await host.order("w1");
  const both = await Promise.all([host.talk<"start">(order), host.talk<"start">(order)]);
  expect(both.map(({ outcome }) => outcome).toSorted()).toEqual(["started", "unchanged"]);
  expect(host.workers()).toEqual([both[0]!.pid]);
  await host.talk<"stop">(stopOrder("w1"));
});

test("mesh host: a record of a dead worker means nothing, also when its process id is another's now", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const order = await host.order("w1");
  const { pid } = await host.talk<"start">(order);
  process.kill(pid, "SIGKILL");
  await until(() => host.workers().length === 0, { what: "the worker to die" });
  expect((await host.talk<"list">({ op: "list", meshName: "mesh" })).workers).toEqual([]);
  const path = host.at("w1", "worker.json");
  const record = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...record, pid: process.pid }));
  expect(await host.talk<"stop">(stopOrder("w1"))).toMatchObject({ outcome: "absent" });
  writeFileSync(path, JSON.stringify({ ...record, pid: process.pid }));
  expect(await host.talk<"start">(order)).toMatchObject({ outcome: "started" });
  await host.talk<"stop">(stopOrder("w1"));
});

test("mesh host: a worker that stands still is killed after its grace", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const { pid } = await host.talk<"start">(await host.order("w1"));
  process.kill(pid, "SIGSTOP");
  expect(await host.talk<"stop">({ ...stopOrder("w1"), graceMs: 100 })).toMatchObject({ outcome: "stopped" });
  expect(host.workers()).toEqual([]);
});

test("mesh host: says that it is still at work while it waits for long", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const { pid } = await host.talk<"start">(await host.order("w1"));
  process.kill(pid, "SIGSTOP");
  const stopping = host.talk<"stop">({ ...stopOrder("w1"), graceMs: 30_000 });
  const said = () => host.progress.filter((text) => text === "ending the worker").length;
  await until(() => said() >= 2, { what: "mesh host to say it again" });
  process.kill(pid, "SIGCONT");
  await stopping;
});

test("mesh host: F6 purge removes all that mesh has put there, once the last worker is gone", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const command = host.installed();
  for (const name of ["w1", "w2"]) await host.talk<"start">(await host.order(name), { command });
  mesh.folder.write({ "host/.local/share/mesh/mesh/files/a.txt": "a" });
  const first = await host.talk<"stop">(stopOrder("w1", true), { command });
  expect(first.removed).toEqual([host.at("w1", "").replace(/\/$/, "")]);
  expect(existsSync(command)).toBe(true);
  const last = await host.talk<"stop">(stopOrder("w2", true), { command });
  expect(last.removed).toContain(join(host.home, ".cache/mesh"));
  const left = (readdirSync(host.home, { recursive: true }) as string[]).filter((path) => path.includes("mesh"));
  expect(left).toEqual([]);
});

test("mesh host: a worker of another build is not started, and words of another version are refused", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  const order = { ...(await host.order("w1")), build: "9.9.9 (none)" };
  await expect(host.talk<"start">(order)).rejects.toMatchObject({ code: "PROTOCOL" });
  const child = host.spawn();
  await child.write(Buffer.from('{"mesh":99,"op":"list"}\n'));
  child.end();
  expect(await new Response(child.stdout as never).text()).toContain('"code":"PROTOCOL"');
});

test("mesh host: a long log becomes the old one", async () => {
  await using mesh = await TestMesh.start({ workers: {} });
  const host = new TestHost(mesh);
  mesh.folder.write({ [relative(mesh.folder.path, host.at("w1", "worker.log"))]: "x".repeat(9_000_000) });
  for (let path = host.at("w1", ""); path !== host.home; path = dirname(path)) chmodSync(path, 0o700);
  await host.talk<"start">(await host.order("w1"));
  expect(statSync(host.at("w1", "worker.log.1")).size).toBe(9_000_000);
  expect(readFileSync(host.at("w1", "worker.log"), "utf8")).toContain(" ready ");
  await host.talk<"stop">(stopOrder("w1"));
});

function statOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}
