// `mesh rendezvous` as its user starts it: joins by a token, is shown and ended as other nodes are, and lends no slots.
import { mkdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { NodeStatus } from "../../core/coordinator/answers.ts";
import type { MeshProcess } from "../support/mesh.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";

/** The environment of another machine. */
function machine(mesh: TestMesh, name: string): { XDG_STATE_HOME: string } {
  const path = mesh.folder.at(name);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return { XDG_STATE_HOME: path };
}

const LISTEN = ["--listen", "tcp://127.0.0.1:0", "udp://127.0.0.1:0"];

/** Starts one on another machine, and waits until it is in the mesh. */
async function start(mesh: TestMesh, token?: string, args: string[] = []): Promise<MeshProcess> {
  const env = { ...machine(mesh, "vps"), ...(token !== undefined && { MESH_TOKEN: token }) };
  const rendezvous = mesh.command(["rendezvous", "--join", mesh.address, ...LISTEN, ...args], { env, limitMs: 60_000 });
  await rendezvous.prints(/ ready .*echo=\d+,\d+/, "stderr");
  return rendezvous;
}

async function tokenOf(mesh: TestMesh): Promise<string> {
  const { stdout, stderr } = await mesh.mesh(["token", "--role", "rendezvous"]);
  expect(stderr).toMatch(/one rendezvous may join .*mesh rendezvous --join tcp:\/\/127\.0\.0\.1:\d+$/ms);
  return stdout.trim().split("\n").at(-1)!;
}

/** Holds a port, unless somebody else does. */
function tcpPort(port: number): Disposable | undefined {
  try {
    return Bun.listen({ hostname: "::", port, socket: { data() {} } });
  } catch {
    return undefined;
  }
}

const shown = ({ role, state, slots, load }: NodeStatus) => [role, state, slots, typeof load];

describe("mesh rendezvous (F2)", () => {
  test("F2 F17 joins by its token and is a node of that role: no slots, no host of a pool, ended by mesh kill", async () => {
    await using mesh = await TestMesh.start({ workers: { w1: 1 } });
    await using rendezvous = await start(mesh, await tokenOf(mesh));
    await mesh.nodeIs("rendezvous", (node) => typeof node?.load === "number");
    const node = (await mesh.status()).nodes.find(({ name }) => name === "rendezvous")!;
    expect(shown(node)).toEqual(["rendezvous", "up", 0, "number"]);
    expect(node.addresses.map((address) => address.slice(0, 6))).toEqual(["tcp://", "udp://"]);
    const script = `import { nodes, pool, self } from "mesh";
const workers = pool();
console.log(JSON.stringify([
  (await nodes()).filter(({ role }) => role !== "head").map(({ name, role, slots }) => [name, role, slots]).sort(),
  await workers.apply(() => self.node),
]));`;
    const seen = [
      ["coordinator", "coordinator", 0],
      ["rendezvous", "rendezvous", 0],
      ["w1", "worker", 1],
    ];
    expect(await mesh.resultOf(script)).toEqual([seen, ["w1"]]);
    expect((await mesh.mesh(["exec", "rendezvous", "--", "true"])).stderr).toMatch(/rendezvous/);
    const killed = await mesh.mesh(["kill", "rendezvous"]);
    expect([killed.status, killed.stdout]).toEqual([0, "node rendezvous: ended\n"]);
    expect((await rendezvous.ended()).status).toBe(0);
  }, 60_000);

  test("F2 F30 killed (kill -9) it is shown as down, and comes back without a token under its name", async () => {
    await using mesh = await TestMesh.start({
      workers: {},
      config: '[mesh]\nheartbeat = "100ms"\nsuspectAfter = "300ms"\ndownAfter = "1s"\n',
    });
    await using first = await start(mesh, await tokenOf(mesh));
    first.signal("SIGKILL");
    await first.ended();
    await mesh.nodeIs("rendezvous", (node) => node?.state === "down");
    await using again = await start(mesh);
    await mesh.nodeIs("rendezvous", (node) => node?.state === "up");
    again.signal("SIGTERM");
    expect((await again.ended()).status).toBe(0);
    expect(again.stderr).toMatch(/ ending by=SIGTERM/);
    await mesh.nodeIs("rendezvous", (node) => node === undefined);
  }, 60_000);

  test("F2 F17 X4 comes back to a coordinator that was killed; one that is revoked is not let in any more", async () => {
    await using mesh = await TestMesh.start({ workers: {} });
    await using rendezvous = await start(mesh, await tokenOf(mesh), ["--name", "vps", "--ports", "21000-21099"]);
    const echo = /echo=(\d+),(\d+)/.exec(rendezvous.stderr)!.slice(1).map(Number);
    expect(echo.every((port) => port >= 21_000 && port <= 21_099)).toBe(true);
    mesh.coordinator.signal("SIGKILL");
    await mesh.coordinator.ended();
    await mesh.startCoordinator();
    await mesh.nodeIs("vps", (node) => node?.state === "up");
    const { status, stderr } = await mesh.mesh(["revoke", "vps"]);
    expect(status, stderr).toBe(0);
    await mesh.nodeIs("vps", (node) => node?.state !== "up");
    await until(() => /revoked/.test(rendezvous.stderr), { what: "the rendezvous to hear why" });
    rendezvous.signal("SIGTERM");
    await rendezvous.ended();
  }, 60_000);

  test("F2 F17 beside the coordinator none is needed; elsewhere what to do is said, and a name that is taken is", async () => {
    await using mesh = await TestMesh.start({ workers: {} });
    await using beside = mesh.command(["rendezvous", ...LISTEN], { limitMs: 60_000 });
    await beside.prints(/ ready /, "stderr");
    const without = await mesh.mesh(["rendezvous", "--join", mesh.address], { env: machine(mesh, "elsewhere") });
    expect([without.status, without.stderr]).toEqual([4, expect.stringMatching(/mesh token --role rendezvous/)]);
    const env = { ...machine(mesh, "second"), MESH_TOKEN: await tokenOf(mesh) };
    const second = await mesh.mesh(["rendezvous", "--join", mesh.address, ...LISTEN], { env });
    expect(second.status).not.toBe(0);
    expect(second.stderr).toContain("a node named rendezvous is in the mesh already: choose another name");
    beside.signal("SIGTERM");
    expect((await beside.ended()).status).toBe(0);
  }, 60_000);

  test("F2 F17 its usual port being taken, it takes another and says so", async () => {
    await using mesh = await TestMesh.start({ workers: {} });
    using _taken = tcpPort(7451);
    await using rendezvous = mesh.command(["rendezvous"], { limitMs: 60_000 });
    await rendezvous.prints(/ ready /, "stderr");
    expect(rendezvous.stderr).toMatch(/ warn not listening there address=tcp:\/\/\[::\]:7451 /);
    const { addresses } = (await mesh.status()).nodes.find(({ name }) => name === "rendezvous")!;
    expect(addresses.filter((address) => address.startsWith("tcp://") && !address.endsWith(":7451"))).not.toEqual([]);
    rendezvous.signal("SIGTERM");
    await rendezvous.ended();
  }, 60_000);

  test.each([
    [["--ports", "40000"], "a range of ports such as"],
    [["--ports", "40000-40002"], "4 or more"],
    [["--ports", "40000-70000"], "from 1 to 65535"],
    [["--slots", "1"], "unknown option '--slots'"],
    [["--managed"], "managed nodes are started by `mesh up`"],
  ])("F2 F9 is not started with %j", async (args, words) => {
    await using mesh = await TestMesh.start({ workers: {} });
    const { status, stderr } = await mesh.mesh(["rendezvous", ...args]);
    expect([status, stderr]).toEqual([2, expect.stringContaining(words)]);
  });
});
