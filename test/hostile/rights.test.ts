// Members of the mesh that ask for what their role may not, speak in others' names, or were revoked.
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { type Identity, identityFrom } from "../../core/identity/identity.ts";
import { FLAG_FIRST, FLAG_MORE } from "../../core/wire/message.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { UdpTransport } from "../../transports/udp/udp-transport.ts";
import { TestCa } from "../support/certificates.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";
import { Attacker, identityIn, transportOf } from "./attacker.ts";
import { ByHand } from "./by-hand.ts";
import { areWell, victimsOf } from "./victims.ts";

/** The slots that are a worker's own. */
function slotsOf(mesh: TestMesh, name: string): number[] {
  const { pid, processes } = mesh.worker(name);
  return processes
    .filter(({ command, parentPid }) => command[1] === "slot" && parentPid === pid)
    .map((slot) => slot.pid);
}

test("X22 a worker's certificate gives orders to the coordinator and to another worker: refused, and noted in the log", async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { coordinator, worker, all } = await victimsOf(mesh);
  for (const victim of all) victim.watch();
  await using evil = await Attacker.of(mesh, "worker", "evil");
  const toCoordinator = { node: (await evil.connect(coordinator.address)).node, slot: 0 };
  const toWorker = { node: (await evil.connect(worker.address)).node, slot: 0 };
  const ask = (to: typeof toWorker, type: number, body: unknown) =>
    evil.node.request(to, type, body, { timeoutMs: 5_000 }).catch((error: Error & { code: string }) => error);
  for (const [type, body] of [
    [MessageType.killJob, { all: true }],
    [MessageType.killNode, { name: "w1" }],
    [MessageType.issueToken, { role: "head" }],
    [MessageType.admit, { publicKey: Buffer.alloc(91), role: "head", name: "evil2" }],
    [MessageType.revoke, { name: "w1" }],
    [MessageType.rotateCa, {}],
    [MessageType.submitJob, {}],
    [MessageType.status, {}],
    [MessageType.beginJob, {}],
  ] as const) {
    const error = await ask(toCoordinator, type, body);
    expect(error).toMatchObject({ code: "AUTHENTICATION", message: expect.stringContaining("a worker may not send") });
  }
  const open = {
    job: evil.node.address.node,
    number: 1,
    bundle: Buffer.from("1"),
    script: "/x",
    args: [],
    showsProgress: false,
  };
  const evilFile = { root: "user", path: mesh.folder.at("evil") };
  const facts = { sizeBytes: 0, mtimeMs: 1, mode: 0o600 };
  for (const [type, body] of [
    [MessageType.openJob, open],
    [MessageType.closeJob, { job: 1 }],
    [MessageType.stopJob, { signal: "SIGKILL", now: true }],
    [MessageType.shutdown, {}],
    [MessageType.revoked, { version: Number.MAX_SAFE_INTEGER, list: {}, caPem: "" }],
    [MessageType.membership, { version: 1, full: true, nodes: [], gone: [], states: [] }],
    [MessageType.exec, { command: 1, words: ["touch", mesh.folder.at("evil")], readsInput: false }],
    [MessageType.fileOpen, { place: { root: "user", path: "/etc/passwd" } }],
    [MessageType.fileList, { place: { root: "user", path: "/" }, withEntries: true }],
    [MessageType.fileBegin, { place: evilFile, facts, overwrite: true, compares: false }],
    [MessageType.fileDelete, { place: evilFile }],
  ] as const) {
    expect(await ask(toWorker, type, body)).toMatchObject({ code: "AUTHENTICATION" });
    evil.node.notify(toWorker, type, body);
  }
  expect(existsSync(mesh.folder.at("evil"))).toBe(false);
  await coordinator.process.prints(/may not send killJob here \(evil\)/, "stderr");
  await worker.process.prints(/may not send openJob here \(evil\)/, "stderr");
  await areWell(mesh, all);
});

test("X22 a head gives orders for a job that is another head's: refused", async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { worker, all } = await victimsOf(mesh);
  for (const victim of all) victim.watch();
  await using run = mesh.start(`import { pool } from "mesh"; import { existsSync } from "node:fs";
console.log(await pool().map(async (i: number) => { while (!existsSync("gate")) await Bun.sleep(5); return i; }, [1]), "done");`);
  await until(() => slotsOf(mesh, "w1").length === 1, { what: "the job's slot" });
  const [head] = (await mesh.status()).nodes.filter(({ role }) => role === "head");
  await using evil = await Attacker.of(mesh, "head", "evil");
  const to = { node: (await evil.connect(worker.address)).node, slot: 0 };
  const ask = (type: number, body: unknown) =>
    evil.node.request(to, type, body, { timeoutMs: 5_000 }).then(
      () => "done",
      (error: Error & { code: string }) => error.code,
    );
  const job = head!.node;
  const open = { job, number: 1, bundle: Buffer.from("1"), script: "/x", args: [], showsProgress: false };
  expect(await ask(MessageType.openJob, open)).not.toBe("done");
  expect(await ask(MessageType.closeJob, { job })).not.toBe("done");
  expect(await ask(MessageType.acquireSlots, { job, seats: [1] })).not.toBe("done");
  expect(await ask(MessageType.killSlot, { job, slot: 1, reason: "x" })).not.toBe("done");
  expect(await ask(MessageType.releaseSlots, { job, seats: [1] })).not.toBe("done");
  mesh.folder.write({ gate: "" });
  const { stdout, status } = await run.ended();
  expect([status, stdout]).toEqual([0, expect.stringContaining("done")]);
  await areWell(mesh, all);
});

test("X22 a message in another node's name: its sender is cut off, and nothing is done", async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { coordinator, worker, all } = await victimsOf(mesh);
  for (const victim of all) victim.watch();
  const { nodes } = await mesh.status();
  const w1 = nodes.find(({ name }) => name === "w1")!.node;
  const identity = await identityIn(mesh, "head", "evil");
  for (const { address } of [coordinator, worker]) {
    const evil = await ByHand.session(transportOf(identity), address, identity);
    const { node } = await evil.challenge();
    evil.link.send(
      evil.message(
        { node, slot: 0 },
        MessageType.closeJob,
        { job: 1 },
        { correlation: 3, from: { node: w1, slot: 0 } },
      ),
    );
    await evil.over();
    expect(evil.frames.some((frame) => frame[0] === MessageType.goodbye)).toBe(true);
  }
  await areWell(mesh, all);
});

test("X22 a message for another node, by way of the coordinator or a worker: nobody passes it on, nobody's session ends", async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1, w2: 1 } });
  const { coordinator, worker, all } = await victimsOf(mesh);
  for (const victim of all) victim.watch();
  const { nodes, mesh: info } = await mesh.status();
  const others = [...nodes.map(({ node }) => node), info.coordinator.node];
  const identity = await identityIn(mesh, "worker", "evil");
  for (const { address } of [coordinator, worker]) {
    const evil = await ByHand.session(transportOf(identity), address, identity);
    const { node } = await evil.challenge();
    for (const other of others.filter((each) => each !== node)) {
      for (const type of [MessageType.register, MessageType.result, MessageType.acquireSlots, MessageType.reply]) {
        evil.link.send(evil.message({ node: other, slot: 0 }, type, {}));
      }
    }
    evil.link.send(evil.message({ node: 17, slot: 0 }, MessageType.introduce, {}, { correlation: 9 }));
    expect((await evil.replyTo(9))?.[0]).toBe(MessageType.failure);
    evil.link.destroy(new Error("done"));
  }
  await areWell(mesh, all);
  for (const { stderr } of [mesh.coordinator, ...mesh.workers.values()]) expect(stderr).not.toMatch(/lost|gone name=w/);
});

test("X18 endless pieces of a large message for the coordinator: refused before memory is taken", async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { coordinator, worker, all } = await victimsOf(mesh);
  for (const victim of all) victim.watch();
  for (const role of ["head", "client", "worker"] as const) {
    const identity = await identityIn(mesh, role, `evil-${role}`);
    for (const { address } of role === "client" ? [coordinator] : [coordinator, worker]) {
      const evil = await ByHand.session(transportOf(identity), address, identity);
      const to = { node: (await evil.challenge()).node, slot: 0 };
      const piece = new Uint8Array(256 * 1024);
      const type =
        role === "worker" ? MessageType.report : address === worker.address ? MessageType.openJob : MessageType.jobLog;
      for (let slot = 0; slot < 4; slot++) {
        const from = { node: evil.node, slot };
        evil.link.send(evil.message(to, type, piece, { correlation: 1 << 30, flags: FLAG_MORE | FLAG_FIRST, from }));
        for (let sent = 0; sent < 30 && !evil.isOver; sent++) {
          evil.link.send(evil.message(to, type, piece, { correlation: 1, flags: FLAG_MORE, from }));
        }
      }
      evil.link.send(evil.message(to, MessageType.introduce, { node: 17, addresses: [] }, { correlation: 77 }));
      await evil.replyTo(77);
      evil.link.destroy(new Error("done"));
    }
  }
  await areWell(mesh, all);
});

test("X23 mesh revoke ends a worker's sessions; it cannot come back, also not to a session it had; its items go elsewhere", {
  timeout: 60_000,
}, async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1, w2: 1 } });
  const { coordinator, worker } = await victimsOf(mesh);
  const identity = await identityIn(mesh, "worker", "evil");
  const evil = new Attacker({ identity });
  await evil.connect(coordinator.address);
  const session = await evil.connect(worker.address);
  const byHand = await ByHand.session(transportOf(identity), coordinator.address, identity);
  await using run = mesh.start(`import { pool, self } from "mesh"; import { existsSync, appendFileSync } from "node:fs";
const places = await pool().map(async (i: number) => {
  appendFileSync("begun", self.node + " " + i + "\\n");
  while (!existsSync("gate")) await Bun.sleep(5);
  return self.node;
}, Array.from({ length: 6 }, (_, i) => i));
console.log(JSON.stringify(places));`);
  await until(() => slotsOf(mesh, "w1").length === 1, { what: "a slot on w1" });
  await until(() => slotsOf(mesh, "w2").length === 1, { what: "a slot on w2" });
  for (const name of ["evil", "w1"]) expect((await mesh.mesh(["revoke", name])).status).toBe(0);
  await until(() => evil.ended.length === 2, { what: "the end of both sessions of the revoked node" });
  await byHand.over();
  await until(() => slotsOf(mesh, "w1").length === 0, { what: "the end of the job's slots on w1" });
  mesh.folder.write({ gate: "" });
  const { stdout, stderr, status } = await run.ended();
  expect([status, stderr]).toEqual([0, expect.stringContaining("w1")]);
  expect(JSON.parse(stdout.trim())).toEqual(Array.from({ length: 6 }, () => "w2"));
  await expect(evil.connect(coordinator.address)).rejects.toMatchObject({
    code: "AUTHENTICATION",
    message: expect.stringMatching(/revoked/),
  });
  const again = await ByHand.dial(transportOf(identity), coordinator.address);
  again.link.send(
    again.greeting(identity, await again.challenge(), {
      epoch: session.epoch,
      generation: 1,
      node: evil.node.address.node,
    }),
  );
  await again.over();
  expect(["REVOKED", "CERTIFICATE"]).toContain(again.refusal?.code);
  await mesh.nodeIs("w1", (node) => node?.state !== "up");
  expect(
    await mesh.resultOf(
      'import { pool, self } from "mesh"; console.log(JSON.stringify(await pool().map(() => self.node, [1, 2, 3])));',
    ),
  ).toEqual(["w2", "w2", "w2"]);
  await evil[Symbol.asyncDispose]();
});

test("X23 mesh revoke over UDP: the session of the revoked node ends, it gets no other one, and nobody meets it", async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 }, transport: "udp" });
  const [identity, other] = [await identityIn(mesh, "worker", "evil"), await identityIn(mesh, "client", "good")];
  const over = ({ credentials }: Identity) => new UdpTransport({ credentials: () => credentials });
  await using evil = new Attacker({ identity, transport: over(identity) });
  await using good = new Attacker({ identity: other, transport: over(other) });
  await evil.connect(mesh.address);
  const coordinator = { node: (await good.connect(mesh.address)).node, slot: 0 };
  const { node } = evil.node.address;
  expect(evil.links[0]!.label).toMatch(/^udp:/);
  expect((await mesh.mesh(["revoke", "evil"])).status).toBe(0);
  await until(() => evil.ended.length === 1, { what: "the end of its session" });
  const refusal = { code: "AUTHENTICATION", message: expect.stringMatching(/revoked/) };
  await expect(evil.connect(mesh.address)).rejects.toMatchObject(refusal);
  const body = { node, candidates: [], mapping: "none" };
  const meeting = good.node.request(coordinator, MessageType.meet, body, { timeoutMs: 5_000 });
  await expect(meeting).rejects.toMatchObject({ code: "UNREACHABLE" });
  expect(good.ended).toEqual([]);
  const foreign = identityFrom(await (await TestCa.make()).issue("w9"));
  await using stranger = new Attacker({ identity: foreign, transport: over(foreign) });
  await expect(stranger.connect(mesh.address)).rejects.toThrow(/no trust in what answers/);
});
