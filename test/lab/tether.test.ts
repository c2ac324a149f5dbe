// F93: hosts that cannot dial the mesh, whose sessions the user's SSH connection carries.
import { existsSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { run } from "./namespaces.ts";
import { missingForSshLab } from "./ssh-hosts.ts";
import { TetheredMesh } from "./tethered.ts";

const missing = missingForSshLab();
const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";

const tunnelOf = (name: string) => `/root/.local/state/mesh/mesh/joined/${name}/tunnel.sock`;

/** What a process on the host hears that asks for an address in its tunnel. */
function answerTo(path: string, address: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect(path, () => socket.write(`mesh-tunnel 1 ${address}\n`));
  socket.on("data", (bytes) => {
    resolve(bytes.toString());
    socket.destroy();
  });
  socket.on("error", reject);
  return promise;
}

describe.skipIf(missing)(`tether${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let mesh: TetheredMesh;

  beforeAll(async () => {
    mesh = await TetheredMesh.start(
      {
        far: { segments: ["home"], port: 2222 },
        jump: { segments: ["outside", "rack"] },
        inner: { segments: ["rack"], jump: "jump" },
        shut: { sshd: ["AllowStreamLocalForwarding no"] },
      },
      { home: { letsOut: false, forwards: { 2222: { node: "far", port: 22 } } }, rack: "sealed" },
    );
    await mesh.startWorker("far");
    await mesh.startWorker("inner");
  });
  afterAll(async () => {
    await mesh?.[Symbol.asyncDispose]();
  });

  test("F93 hosts that reach nobody join through the SSH channel, also behind a jump host, and status says so", async () => {
    await until(() => /not reached yet/.test(mesh.lab.host("far").run("cat /root/worker.log")), {
      what: "a failed join",
    });
    expect(await mesh.tether("far", "inner")).toEqual([
      { name: "far", phase: "up" },
      { name: "inner", phase: "up" },
    ]);
    for (const name of ["far", "inner"]) {
      expect((await mesh.nodeIs(name, (each) => each?.state === "up")).path?.kind).toBe("ssh");
      const { peers } = await mesh.nodeIs(name, (each) => each!.peers.length > 0);
      expect(peers.map(({ path }) => path)).toEqual(["ssh"]);
    }
    expect(mesh.tethers.length).toBe(1);
  });

  test("F93 a job runs on them with exact results, and a value of 64 MiB crosses", async () => {
    const script = `import { pool, self } from "mesh"; ${out}
const bytes = new Uint8Array(64 * 1024 * 1024);
for (let i = 0; i < bytes.length; i += 4) bytes[i] = (i * 31) >> 7;
const items = Array.from({ length: 40 }, (_, i) => i);
const squares = await Promise.all(["far", "inner"].map((hosts) => pool({ hosts }).map((i: number) => [i * i, self.node], items)));
const back = await pool({ hosts: "far" }).submit((given: Uint8Array) => given.map((byte) => byte ^ 255), bytes);
out([squares, back.length === bytes.length && back.every((byte, i) => byte === (bytes[i]! ^ 255))]);`;
    const squares = (name: string) => Array.from({ length: 40 }, (_, i) => [i * i, name]);
    expect(await mesh.resultOf(script)).toEqual([[squares("far"), squares("inner")], true]);
  });

  test("F93 F35 two of them talk to each other by way of both SSH connections", async () => {
    const script = `import { pool, self, task } from "mesh"; ${out}
const inside = async (x: number) => [self.node, ...(await pool({ hosts: "inner" }).map((i: number) => [i * x, self.node], [1, 2, 3]))];
out(await pool({ hosts: "far" }).submit(inside, 7));`;
    expect(await mesh.resultOf(script)).toEqual(["far", [7, "inner"], [14, "inner"], [21, "inner"]]);
  });

  /** A job with items that are held on their hosts until the test opens the gate; `during` happens meanwhile. */
  async function jobDuring(during: () => Promise<void>): Promise<void> {
    for (const name of ["far", "inner"]) mesh.lab.host(name).run("rm -f /tmp/gate");
    await using job = mesh.run(`import { pool, self } from "mesh"; import { existsSync } from "node:fs"; ${out}
const values = await pool().map(async (i: number) => {
  console.log("begun " + i + " on " + self.node);
  while (!existsSync("/tmp/gate")) await Bun.sleep(5);
  return i * i;
}, Array.from({ length: 20 }, (_, i) => i), { chunkSize: 1 });
out(values);`);
    for (const name of ["far", "inner"]) await job.prints(new RegExp(`begun \\d+ on ${name}`));
    const slots = ["far", "inner"].map((name) => mesh.onHost(name, "slot"));
    await during();
    expect(["far", "inner"].map((name) => mesh.onHost(name, "slot"))).toEqual(slots);
    for (const name of ["far", "inner"]) mesh.open(name);
    const { stdout, stderr, status } = await job.ended();
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const lines = stdout.trim().split("\n");
    expect(JSON.parse(lines.find((line) => line.startsWith("["))!)).toEqual(
      Array.from({ length: 20 }, (_, i) => i * i),
    );
    const begun = lines.flatMap((line) => /^begun (\d+)/.exec(line)?.[1] ?? []);
    expect(begun.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  }

  /** Until the tunnels are back, and the workers have been heard through them. */
  async function bothAreBack(): Promise<void> {
    for (const name of ["far", "inner"]) await mesh.nodeIs(name, (node) => node?.state === "up");
  }

  test("F93 the tether is killed and started again: sessions resume, and the job does not notice", async () => {
    await jobDuring(async () => {
      mesh.killTether();
      await until(() => mesh.tethers.length === 0, { what: "the end of the tether" });
      expect((await mesh.tether("far", "inner")).map(({ phase }) => phase)).toEqual(["up", "up"]);
      await bothAreBack();
    });
  });

  test("F93 sshd is restarted and every login with it: the tether comes back by itself, and the job does not notice", async () => {
    await jobDuring(async () => {
      const host = mesh.lab.host("far");
      host.stopSshd();
      host.dropLogins();
      host.startSshd();
      await bothAreBack();
    });
    expect(mesh.tethers.length).toBe(1);
  });

  test("F93 a tunnel leads to nodes of the mesh and to nobody else", async () => {
    const desk = mesh.lab.network.address("desk");
    const asks = (address: string) => answerTo(mesh.lab.host("far").path(tunnelOf("far")), address);
    expect(await asks(`tcp://${desk}:22`)).toMatch(/^no AUTHENTICATION .*leads nowhere else/);
    expect(await asks("tcp://127.0.0.1:7451")).toMatch(/^no AUTHENTICATION/);
    expect(await asks("tcp://192.0.2.1:80")).toMatch(/^no AUTHENTICATION/);
    expect(await asks(mesh.address)).toBe("ok\n");
  });

  test("F93 a key that is locked is no use to a tether: it names the agent as the remedy", async () => {
    const key = mesh.lab.folder.at(".ssh/id_ed25519");
    const change = (from: string, to: string) => run("ssh-keygen", "-q", "-p", "-P", from, "-N", to, "-f", key);
    change("", "secret");
    const [state] = await mesh.tether("shut");
    change("secret", "");
    expect(state).toMatchObject({ phase: "away", error: { code: "AUTHENTICATION" } });
    expect(state!.error!.message).toMatch(/encrypted.*ssh-add/);
  });

  test("F93 a host whose sshd forbids it says so, and what to change", async () => {
    const [state] = await mesh.tether("shut");
    expect(state).toMatchObject({ name: "shut", phase: "away", error: { code: "UNREACHABLE" } });
    expect(state!.error!.message).toContain("AllowStreamLocalForwarding");
    await mesh.release("shut");
  });

  test("F93 a host that is let go loses its tunnel; the last one ends the tether, and nothing is left", async () => {
    const isLaid = (name: string) => existsSync(mesh.lab.host(name).path(tunnelOf(name)));
    expect([isLaid("far"), isLaid("inner")]).toEqual([true, true]);
    await mesh.release("inner");
    expect([isLaid("far"), isLaid("inner")]).toEqual([true, false]);
    expect(mesh.tethers.length).toBe(1);
    await mesh.release("far");
    expect([isLaid("far"), isLaid("inner")]).toEqual([false, false]);
    await until(() => mesh.tethers.length === 0, { what: "the end of the tether" });
    await mesh.nodeIs("far", (node) => node?.state === "down");
    expect(mesh.coordinatorLog).not.toContain("refused");
    const left = readdirSync(mesh.lab.folder.at(".local/state/mesh/mesh")).filter((name) => name.startsWith("tether"));
    expect(left.sort()).toEqual(["tether.lock", "tethered"]);
  });
});
