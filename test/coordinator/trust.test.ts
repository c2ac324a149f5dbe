import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Certified, Revoked, Token } from "../../core/coordinator/answers.ts";
import { MeshCa } from "../../core/identity/ca.ts";
import { checkJoined, type Joined } from "../../core/identity/join.ts";
import { createKeyPair, publicKeyBytes } from "../../core/identity/keys.ts";
import { derOf } from "../../core/identity/pem.ts";
import { Revocations } from "../../core/identity/revocations.ts";
import { TokenStore } from "../../core/identity/token-store.ts";
import { Trust } from "../../core/identity/trust.ts";
import { verifyCertificate } from "../../core/identity/verify.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { rejection, START, settled, TestCoordinator, tempFolder } from "./support.ts";

async function start(folder: string) {
  const ca = await MeshCa.create(join(folder, "ca"), { nowMs: START });
  const revocations = new Revocations(join(folder, "revocations.json"));
  const tokens = new TokenStore({ path: join(folder, "tokens.json"), ca, audit: () => {} });
  const verify = (pem: string) => verifyCertificate(derOf(pem), new Trust(ca.trust(START), revocations), START + 5_000);
  const dropped: number[] = [];
  const audits: [string, object][] = [];
  const mesh = new TestCoordinator({
    folder,
    identity: { ca, tokens, revocations, expiryOf: (pem) => verify(pem).notAfter },
    dropRevoked: () => void dropped.push(revocations.version),
    audit: (event, fields) => void audits.push([event, fields]),
  });
  return { mesh, ca, revocations, verify, dropped, audits };
}

const { publicKey } = createKeyPair();

describe("Coordinator: trust", () => {
  it("F17: issues tokens, with the moment they end", async () => {
    using folder = tempFolder();
    const { mesh } = await start(folder.path);
    const user = await mesh.join("ann", "client");
    const { token, expiresAt } = await user.ask<Token>(MessageType.issueToken, { role: "worker", ttlMs: 60_000 });
    expect([token.startsWith("mesh1."), expiresAt]).toEqual([true, START + 60_000]);
    expect((await user.ask<Token>(MessageType.issueToken, { role: "worker" })).expiresAt).toBe(START + 3_600_000);
    await mesh.coordinator.close();
  });

  it("F76: renews the asker's own certificate, whatever it is asked for", async () => {
    using folder = tempFolder();
    const { mesh, verify } = await start(folder.path);
    const worker = await mesh.join("gpu1");
    const renewed = await worker.ask<Certified>(MessageType.certify, { publicKey });
    expect(verify(renewed.certificatePem)).toMatchObject({ role: "worker", name: "gpu1", notAfter: renewed.expiresAt });
    await worker.ask(MessageType.certify, { publicKey, role: "worker", name: "gpu1" });
    for (const more of [{ name: "gpu2" }, { role: "head" }, { role: "coordinator", name: "coordinator" }]) {
      expect(await rejection(worker.ask(MessageType.certify, { publicKey, ...more }))).toMatchObject({
        code: "AUTHENTICATION",
        message: expect.stringContaining("a node renews its own only"),
      });
    }
    const noKey = worker.ask(MessageType.certify, { publicKey: new Uint8Array(91) });
    expect(await rejection(noKey)).toMatchObject({ code: "PROTOCOL" });
    await mesh.coordinator.close();
  });

  it("F76: a head gets certificates for further heads that are named after it, and for nobody else", async () => {
    using folder = tempFolder();
    const { mesh, verify } = await start(folder.path);
    const laptop = await mesh.join("laptop", "head");
    const { certificatePem } = await laptop.ask<Certified>(MessageType.certify, {
      publicKey,
      role: "head",
      name: "laptop.1",
    });
    expect(verify(certificatePem)).toMatchObject({ role: "head", name: "laptop.1" });
    const others = [
      { name: "laptop2" },
      { name: "gpu1" },
      { role: "worker", name: "laptop.1" },
      { role: "client", name: "laptop.1" },
    ];
    for (const other of others) {
      const asked = laptop.ask(MessageType.certify, { publicKey, ...other });
      expect(await rejection(asked)).toMatchObject({ code: "AUTHENTICATION" });
    }
    await mesh.coordinator.close();
  });

  it.each(["worker", "head", "rendezvous"])(
    "F6: admits a %s that a user starts elsewhere, with one record",
    async (role) => {
      using folder = tempFolder();
      const { mesh, ca, verify, audits } = await start(folder.path);
      mesh.coordinator.listening(Array.from({ length: 20 }, (_, i) => `tcp://10.0.0.${i}:7450`));
      const user = await mesh.join("ann", "client");
      await mesh.join("gpu1"); // it is to be replaced
      const joined = await user.ask<Joined>(MessageType.admit, { publicKey, role, name: "gpu1" });
      expect(joined).toMatchObject({ meshId: "0123456789abcdef", meshName: "lab", caPem: ca.trust(START) });
      expect(joined.coordinators).toEqual(Array.from({ length: 16 }, (_, i) => `tcp://10.0.0.${i}:7450`));
      expect(verify(joined.certificatePem)).toMatchObject({ role, name: "gpu1" });
      expect(publicKeyBytes(verify(joined.certificatePem).publicKey)).toEqual(Buffer.from(publicKey));
      expect(audits).toEqual([["admitted", { role, name: "gpu1", by: "client ann" }]]);
      await mesh.coordinator.close();
    },
  );

  it("F6: what admit gives is accepted as the answer to a join, also after the name was revoked", async () => {
    using folder = tempFolder();
    const { mesh, ca, verify } = await start(folder.path);
    mesh.coordinator.listening(["tcp://10.0.0.1:7450"]);
    const laptop = await mesh.join("laptop", "head");
    await laptop.ask(MessageType.revoke, { name: "gpu1" });
    const wanted = { publicKey, role: "worker" as const, name: "gpu1" };
    const joined = await laptop.ask<Joined>(MessageType.admit, wanted);
    expect(verify(joined.certificatePem).name).toBe("gpu1");
    const expected = { ...wanted, meshId: ca.meshId };
    expect(checkJoined({ ...joined, meshId: ca.meshId }, ca, expected, START + 5_000)).toMatchObject({
      meshName: "lab",
    });
    await mesh.coordinator.close();
  });

  it.each([
    ["the coordinator's own name", { name: "coordinator" }, "USAGE"],
    ["the coordinator's role", { role: "coordinator" }, "PROTOCOL"],
    ["no name", { name: "../x" }, "PROTOCOL"],
    ["a key that is none", { publicKey: new Uint8Array(91) }, "PROTOCOL"],
    ["a key of another size", { publicKey: new Uint8Array(12) }, "PROTOCOL"],
    ["no key", { publicKey: "key" }, "PROTOCOL"],
  ])("F6: admits nobody for %s", async (_, wrong, code) => {
    using folder = tempFolder();
    const { mesh, audits } = await start(folder.path);
    const user = await mesh.join("ann", "client");
    const asked = user.ask(MessageType.admit, { publicKey, role: "worker", name: "gpu1", ...wrong });
    expect(await rejection(asked)).toMatchObject({ code });
    expect(audits).toEqual([]);
    await mesh.coordinator.close();
  });

  it("F6: a worker admits nobody", async () => {
    using folder = tempFolder();
    const { mesh } = await start(folder.path);
    const worker = await mesh.join("gpu1");
    const asked = worker.ask(MessageType.admit, { publicKey, role: "worker", name: "gpu2" });
    expect(await rejection(asked)).toMatchObject({ code: "AUTHENTICATION" });
    await mesh.coordinator.close();
  });

  it("F76: a revocation is told to all before live sessions are ended, and to who comes later", async () => {
    using folder = tempFolder();
    const { mesh, dropped, revocations } = await start(folder.path);
    const [worker, user] = [await mesh.join("gpu1"), await mesh.join("ann", "client")];
    const [first] = worker.of(MessageType.revoked) as Revoked[];
    expect(first).toMatchObject({ list: { names: [] }, caPem: expect.stringContaining("BEGIN CERTIFICATE") });
    const { version } = await user.ask<{ version: number }>(MessageType.revoke, { name: "gpu9" });
    await settled();
    const pushed = worker.of(MessageType.revoked).at(-1) as Revoked;
    expect(pushed).toEqual({ version, list: revocations.toData(), caPem: first!.caPem });
    expect(pushed.list.names.map(({ name }) => name)).toEqual(["gpu9"]);
    expect(pushed.version).toBeGreaterThan(first!.version);
    expect(dropped).toHaveLength(1);
    const late = await mesh.join("gpu2");
    expect(late.of(MessageType.revoked)).toEqual([pushed]);
    expect(user.of(MessageType.revoked)).toEqual([pushed]);
    expect(await rejection(user.ask(MessageType.revoke, { name: "coordinator" }))).toMatchObject({ code: "USAGE" });
    await mesh.coordinator.close();
  });

  it("F76: a new CA is told to all with the old one beside it; all are to renew", async () => {
    using folder = tempFolder();
    const { mesh, ca, dropped, verify } = await start(folder.path);
    const [worker, user] = [await mesh.join("gpu1"), await mesh.join("ann", "client")];
    const before = worker.of(MessageType.revoked).at(-1) as Revoked;
    const answer = await user.ask<{ overlapUntil: number }>(MessageType.rotateCa, { overlapMs: 3_600_000 });
    expect(answer).toEqual({ overlapUntil: START + 3_600_000 });
    await settled();
    const after = worker.of(MessageType.revoked).at(-1) as Revoked;
    expect(after).toMatchObject({ renew: true, caPem: ca.trust(START) });
    expect(after.caPem).toContain(before.caPem);
    expect(after.version).toBeGreaterThan(before.version);
    expect(dropped).toEqual([]);
    const { certificatePem } = await worker.ask<Certified>(MessageType.certify, { publicKey });
    expect(verify(certificatePem).name).toBe("gpu1");
    expect(await user.ask(MessageType.rotateCa, { overlapMs: 0 })).toEqual({ overlapUntil: null });
    expect(dropped).toHaveLength(1);
    await mesh.coordinator.close();
  });

  it("X3: after a restart what is told has a higher version than all before", async () => {
    using folder = tempFolder();
    const { mesh, ca, revocations } = await start(folder.path);
    const user = await mesh.join("ann", "client");
    await user.ask(MessageType.rotateCa, {});
    await mesh.coordinator.close();
    const told = user.of(MessageType.revoked).at(-1) as Revoked;
    mesh.clock.advance(1_000);
    const tokens = { create: () => "" };
    const identity = { ca, tokens, revocations, expiryOf: () => 0 };
    await using again = new TestCoordinator({ folder: folder.path, identity }, mesh.clock, 17);
    const worker = await again.join("gpu1");
    const [now] = worker.of(MessageType.revoked) as Revoked[];
    expect(now!.version).toBeGreaterThan(told.version);
    expect(now!.caPem).toBe(told.caPem);
  });
});
