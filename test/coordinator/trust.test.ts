import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Certified, Revoked, Token } from "../../core/coordinator/answers.ts";
import { MeshCa } from "../../core/identity/ca.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
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
  const mesh = new TestCoordinator({
    folder,
    identity: { ca, tokens, revocations, expiryOf: (pem) => verify(pem).notAfter },
    dropRevoked: () => void dropped.push(revocations.version),
  });
  return { mesh, ca, revocations, verify, dropped };
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
