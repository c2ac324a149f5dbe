import { createPublicKey } from "node:crypto";
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MeshCa } from "../../core/identity/ca.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import { certificatesIn, derOf } from "../../core/identity/pem.ts";
import { pinOf } from "../../core/identity/pin.ts";
import { renewAt } from "../../core/identity/renewal.ts";
import { Trust } from "../../core/identity/trust.ts";
import { isOutdated, verifyCertificate } from "../../core/identity/verify.ts";
import { DAY, folder, HOUR, NOW, nodeOf, refusalOf, rejectionOf, testMesh, YEAR } from "./support.ts";

const KEY = createKeyPair();

/** SubjectPublicKeyInfo of P-256 up to a compressed point. */
const COMPRESSED_HEAD = Buffer.from("3039301306072a8648ce3d020106082a8648ce3d030107032200", "hex");

describe("MeshCa.create", () => {
  it("X37 makes a folder of mode 0700 with files of mode 0600, also under a mild umask", async () => {
    const before = process.umask(0);
    try {
      using mesh = await testMesh();
      await mesh.ca.rotate({ nowMs: NOW });
      expect(statSync(mesh.path).mode & 0o777).toBe(0o700);
      const names = readdirSync(mesh.path).sort();
      expect(names).toEqual(["ca-old.pem", "ca.key", "ca.pem"]);
      for (const name of names) expect(statSync(join(mesh.path, name)).mode & 0o777).toBe(0o600);
    } finally {
      process.umask(before);
    }
  });

  it("gives every mesh an id of its own, which stays when it is opened again", async () => {
    using mesh = await testMesh();
    using other = await testMesh();
    expect(mesh.ca.meshId).toMatch(/^[0-9a-f]{16}$/);
    expect(mesh.ca.meshId).not.toBe(other.ca.meshId);
    const again = MeshCa.open(mesh.path)!;
    expect(again.meshId).toBe(mesh.ca.meshId);
    expect(again.trust(NOW)).toBe(mesh.ca.trust(NOW));
    expect(again.pin).toEqual(mesh.ca.pin);
    expect(again.pin).toEqual(pinOf(derOf(mesh.ca.certificatePem)));
  });

  it("never replaces a CA", async () => {
    using mesh = await testMesh();
    expect(await rejectionOf("USAGE", MeshCa.create(mesh.path, { nowMs: NOW }))).toContain(
      "holds the CA of a mesh already",
    );
    expect(MeshCa.open(mesh.path)?.trust(NOW)).toBe(mesh.ca.trust(NOW));
  });

  it("makes a CA that is good for 10 years, from a day before on", async () => {
    using mesh = await testMesh();
    const [authority] = new Trust(mesh.ca.trust(NOW)).authorities;
    const issued = Math.floor(NOW / 1000) * 1000;
    expect(authority).toMatchObject({ notBefore: issued - DAY, notAfter: issued + 10 * YEAR });
  });

  it("begins again where a creation was killed before it was done", async () => {
    using place = folder();
    const path = place.at("ca");
    await MeshCa.create(path, { nowMs: NOW });
    rmSync(join(path, "ca.pem"));
    expect(MeshCa.open(path)).toBeUndefined();
    const ca = await MeshCa.create(path, { nowMs: NOW });
    expect(MeshCa.open(path)?.meshId).toBe(ca.meshId);
  });
});

describe("MeshCa.open", () => {
  it.each([
    ["", 0o750, "700"],
    ["", 0o701, "700"],
    ["ca.key", 0o640, "600"],
    ["ca.key", 0o604, "600"],
    ["ca.pem", 0o644, "600"],
    ["ca-old.pem", 0o660, "600"],
  ])("X37 refuses %j of mode %o, and says how to put it right", async (name, mode, right) => {
    using mesh = await testMesh();
    await mesh.ca.rotate({ nowMs: NOW });
    const path = name === "" ? mesh.path : join(mesh.path, name);
    chmodSync(path, mode);
    const words = refusalOf("AUTHENTICATION", () => MeshCa.open(mesh.path));
    expect(words).toContain(`${path} has mode ${mode.toString(8)}`);
    expect(words).toContain(`\`chmod ${right} ${path}\``);
    chmodSync(path, Number.parseInt(right, 8));
    expect(MeshCa.open(mesh.path)?.meshId).toBe(mesh.ca.meshId);
  });

  it("X37 refuses symbolic links", async () => {
    using mesh = await testMesh();
    using place = folder();
    const link = place.at("ca");
    symlinkSync(mesh.path, link);
    expect(refusalOf("AUTHENTICATION", () => MeshCa.open(link))).toContain(`${link} is a symbolic link`);
    const key = join(mesh.path, "ca.key");
    writeFileSync(place.at("key"), readFileSync(key), { mode: 0o600 });
    rmSync(key);
    symlinkSync(place.at("key"), key);
    expect(refusalOf("AUTHENTICATION", () => MeshCa.open(mesh.path))).toContain(`${key} is a symbolic link`);
  });

  it("tells of a key that is damaged, missing or another's, without showing it", async () => {
    using mesh = await testMesh();
    const key = join(mesh.path, "ca.key");
    const pem = readFileSync(key, "utf8");
    const secret = pem.split("\n")[1]!;
    for (const text of [pem.slice(0, 80), KEY.keyPem, "", undefined]) {
      if (text === undefined) rmSync(key);
      else writeFileSync(key, text);
      const words = refusalOf("AUTHENTICATION", () => MeshCa.open(mesh.path));
      expect(words).toContain(`${key} is missing or damaged, or is not the key of ca.pem`);
      expect(words).not.toContain(secret);
    }
  });

  it("tells of damaged certificates", async () => {
    using mesh = await testMesh();
    const old = join(mesh.path, "ca-old.pem");
    await mesh.ca.rotate({ nowMs: NOW });
    const whole = readFileSync(old, "utf8");
    const otherKey = whole.replace(/-----BEGIN PRIVATE KEY.*/s, KEY.keyPem);
    const damages = [
      otherKey,
      "trusted until tomorrow\n",
      "text",
      whole.slice(20),
      whole.slice(0, 300),
      whole.slice(0, -100),
    ];
    for (const text of [...damages, whole + whole.slice(0, 200), whole.replace(/until \S+/, "until then")]) {
      writeFileSync(old, text);
      expect(refusalOf("AUTHENTICATION", () => MeshCa.open(mesh.path))).toContain(`${old} is damaged`);
    }
    writeFileSync(old, "");
    expect(MeshCa.open(mesh.path)?.trust(NOW)).toBe(MeshCa.open(mesh.path)?.certificatePem);
  });

  it("finds none in an empty folder", () => {
    using place = folder();
    expect(MeshCa.open(place.path)).toBeUndefined();
  });
});

describe("MeshCa.issue", () => {
  it("makes certificates that differ in their serial only where they may", async () => {
    using mesh = await testMesh();
    const by = new Trust(mesh.ca.trust(NOW));
    const issue = () => mesh.ca.issue({ role: "head", name: "run-1", ...KEY }, { nowMs: NOW, validityMs: HOUR });
    const peers = [await issue(), await issue()].map((pem) => verifyCertificate(derOf(pem), by, NOW));
    expect(peers[0]!.serial).not.toBe(peers[1]!.serial);
    const issued = Math.floor(NOW / 1000) * 1000;
    for (const peer of peers) {
      expect(peer).toMatchObject({ role: "head", name: "run-1", notBefore: issued - DAY, notAfter: issued + HOUR });
      expect(peer.publicKey.export({ type: "spki", format: "der" }).equals(KEY.publicKey)).toBe(true);
    }
  });

  it.each(["a", "_", "9.9-9_", "x".repeat(63)])("F17 makes one for the name %j", async (name) => {
    using mesh = await testMesh();
    expect(await nodeOf(mesh.ca, "client", name)).toMatchObject({ role: "client", name });
  });

  it.each(["", "-a", ".a", "a b", "a/b", "a,b", "é", "x".repeat(64), "a\n"])("refuses the name %j", async (name) => {
    using mesh = await testMesh();
    const asked = mesh.ca.issue({ role: "worker", name, ...KEY }, { nowMs: NOW });
    expect(await rejectionOf("USAGE", asked)).toContain("cannot be the name of a node");
  });

  it.each([0, -1, Number.NaN, 367 * DAY, Number.POSITIVE_INFINITY])(
    "refuses a validity of %d ms",
    async (validityMs) => {
      using mesh = await testMesh();
      const asked = mesh.ca.issue({ role: "worker", name: "a", ...KEY }, { nowMs: NOW, validityMs });
      expect(await rejectionOf("USAGE", asked)).toContain("cannot be valid for");
    },
  );

  it("refuses roles that are none, and what is no key on P-256", async () => {
    using mesh = await testMesh();
    const ask = (role: string, publicKey: Uint8Array) =>
      mesh.ca.issue({ role: role as "worker", name: "a", publicKey }, { nowMs: NOW });
    await rejectionOf("USAGE", ask("admin", KEY.publicKey));
    const changed = Uint8Array.from(KEY.publicKey);
    changed[90]! ^= 1; // no point of the curve
    // Its short spelling, and as many bytes behind it as make up for the difference.
    const short = Buffer.concat([
      COMPRESSED_HEAD,
      Buffer.of(2 + (KEY.publicKey[90]! & 1)),
      KEY.publicKey.subarray(27, 59),
    ]);
    expect(createPublicKey({ key: short, format: "der", type: "spki" }).asymmetricKeyType).toBe("ec");
    const padded = Buffer.concat([short, new Uint8Array(32)]);
    for (const bad of [new Uint8Array(0), new Uint8Array(91), changed, KEY.publicKey.subarray(1), padded]) {
      expect(await rejectionOf("PROTOCOL", ask("worker", bad))).toContain("none on P-256");
    }
  });

  it("makes none that outlives the CA, and none when that has expired", async () => {
    using mesh = await testMesh(NOW - 10 * YEAR + 10 * DAY);
    const node = await nodeOf(mesh.ca, "worker", "a");
    expect(node.expiresAt).toBe(Math.floor((NOW + 10 * DAY) / 1000) * 1000);
    const words = await rejectionOf("AUTHENTICATION", nodeOf(mesh.ca, "worker", "a", NOW + 11 * DAY));
    expect(words).toContain("mesh rotate");
  });

  it("goes on after 2049, when certificates write years with four digits", async () => {
    const late = Date.parse("2050-01-10T00:00:00Z");
    using mesh = await testMesh(late);
    const node = await nodeOf(mesh.ca, "worker", "a", late);
    expect(verifyCertificate(node.certificate, new Trust(mesh.ca.trust(late)), late).notBefore).toBe(late - DAY);
  });
});

describe("MeshCa.rotate", () => {
  it("keeps what the old CA signed valid during the overlap, and not a moment longer", async () => {
    using mesh = await testMesh();
    const before = await nodeOf(mesh.ca, "worker", "old");
    await mesh.ca.rotate({ nowMs: NOW, overlapMs: DAY });
    const after = await nodeOf(mesh.ca, "worker", "new");
    const during = new Trust(mesh.ca.trust(NOW + DAY - 1));
    expect(during.authorities).toHaveLength(2);
    expect(during.meshId).toBe(mesh.ca.meshId);
    expect(mesh.ca.overlapUntil(NOW)).toBe(NOW + DAY);
    for (const node of [before, after]) expect(verifyCertificate(node.certificate, during, NOW).name).toBe(node.name);
    const then = new Trust(mesh.ca.trust(NOW + DAY));
    expect(then.authorities).toHaveLength(1);
    expect(mesh.ca.overlapUntil(NOW + DAY)).toBeUndefined();
    expect(verifyCertificate(after.certificate, then, NOW).name).toBe("new");
    expect(refusalOf("AUTHENTICATION", () => verifyCertificate(before.certificate, then, NOW))).toContain(
      "not signed by",
    );
  });

  it("believes no new certificate in a node that was not told yet", async () => {
    using mesh = await testMesh();
    const untold = new Trust(mesh.ca.trust(NOW));
    await mesh.ca.rotate({ nowMs: NOW });
    const { certificate } = await nodeOf(mesh.ca, "worker", "new");
    expect(refusalOf("AUTHENTICATION", () => verifyCertificate(certificate, untold, NOW))).toContain("not signed by");
  });

  it("survives opening again", async () => {
    using mesh = await testMesh();
    const pin = mesh.ca.pin;
    await mesh.ca.rotate({ nowMs: NOW });
    await mesh.ca.rotate({ nowMs: NOW + HOUR });
    const again = MeshCa.open(mesh.path)!;
    expect(again.pin).not.toEqual(pin);
    expect(certificatesIn(again.trust(NOW + HOUR))).toHaveLength(3);
    expect(again.trust(NOW + HOUR)).toBe(mesh.ca.trust(NOW + HOUR));
    expect(again.trust(NOW + 90 * DAY)).toBe(mesh.ca.trust(NOW + 90 * DAY));
    expect(
      verifyCertificate((await nodeOf(again, "worker", "a")).certificate, new Trust(mesh.ca.trust(NOW)), NOW).name,
    ).toBe("a");
  });

  it("shows a coordinator to nodes that were away, under the CA they know, and every other node under the new one", async () => {
    using mesh = await testMesh();
    const away = new Trust(mesh.ca.trust(NOW));
    const first = mesh.ca.certificatePem;
    await mesh.ca.rotate({ nowMs: NOW });
    for (const ca of [mesh.ca, MeshCa.open(mesh.path)!]) {
      const coordinator = await nodeOf(ca, "coordinator", "c");
      expect(verifyCertificate(coordinator.certificate, away, NOW).name).toBe("c");
      expect(ca.certificatePem).toBe(first);
      const worker = await nodeOf(ca, "worker", "w");
      expect(refusalOf("AUTHENTICATION", () => verifyCertificate(worker.certificate, away, NOW))).toContain(
        "not signed",
      );
      expect(isOutdated(coordinator.certificate, new Trust(ca.trust(NOW)))).toBe(true);
      expect(isOutdated(worker.certificate, new Trust(ca.trust(NOW)))).toBe(false);
    }
  });

  it("shows it under the oldest CA that is trusted when several were replaced", async () => {
    using mesh = await testMesh();
    const away = new Trust(mesh.ca.trust(NOW));
    for (const at of [NOW, NOW + HOUR]) await mesh.ca.rotate({ nowMs: at });
    const coordinator = await nodeOf(mesh.ca, "coordinator", "c", NOW + HOUR);
    expect(verifyCertificate(coordinator.certificate, away, NOW + HOUR).name).toBe("c");
  });

  it.each([90 * DAY, 7 * DAY, HOUR, 60_000])(
    "leaves no moment of an overlap of %d ms without a coordinator",
    async (overlapMs) => {
      using mesh = await testMesh();
      await mesh.ca.rotate({ nowMs: NOW, overlapMs });
      let renewals = 0;
      for (let at = NOW; at < NOW + overlapMs + DAY; renewals++) {
        const coordinator = await nodeOf(mesh.ca, "coordinator", "c", at);
        const next = renewAt(coordinator.notBefore, coordinator.expiresAt, 1);
        for (const moment of [at, next]) {
          expect(verifyCertificate(coordinator.certificate, new Trust(mesh.ca.trust(moment)), moment).name).toBe("c");
        }
        at = next;
      }
      expect(renewals).toBeLessThan(5);
      expect(
        isOutdated(
          (await nodeOf(mesh.ca, "coordinator", "c", NOW + overlapMs)).certificate,
          new Trust(mesh.ca.trust(NOW)),
        ),
      ).toBe(false);
    },
  );

  it("ends the trust in all older CAs at once with an overlap of 0", async () => {
    using mesh = await testMesh();
    await mesh.ca.rotate({ nowMs: NOW });
    await mesh.ca.rotate({ nowMs: NOW, overlapMs: 0 });
    for (const ca of [mesh.ca, MeshCa.open(mesh.path)!]) expect(ca.trust(NOW)).toBe(ca.certificatePem);
  });

  it("keeps at most 4 CAs, and says until when to wait", async () => {
    using mesh = await testMesh();
    for (const overlapMs of [DAY, 2 * DAY, 3 * DAY]) await mesh.ca.rotate({ nowMs: NOW, overlapMs });
    const words = await rejectionOf("USAGE", mesh.ca.rotate({ nowMs: NOW }));
    expect(words).toContain("wait until 2026-11-25T12:00:00Z");
    expect(certificatesIn(mesh.ca.trust(NOW))).toHaveLength(4);
    await mesh.ca.rotate({ nowMs: NOW + DAY });
    expect(certificatesIn(mesh.ca.trust(NOW + DAY))).toHaveLength(4);
  });

  it("does one after the other when asked for several, and goes on after one that failed", async () => {
    using mesh = await testMesh();
    const bad = mesh.ca.rotate({ nowMs: NOW, overlapMs: -1 });
    const both = [mesh.ca.rotate({ nowMs: NOW }), mesh.ca.rotate({ nowMs: NOW })];
    await rejectionOf("USAGE", bad);
    await Promise.all(both);
    expect(certificatesIn(mesh.ca.trust(NOW))).toHaveLength(3);
    expect(MeshCa.open(mesh.path)?.trust(NOW)).toBe(mesh.ca.trust(NOW));
  });

  it("counts what was rotated only when the new certificate is there, wherever it was killed", async () => {
    using mesh = await testMesh();
    const at = (name: string) => join(mesh.path, name);
    const read = () => ({ key: readFileSync(at("ca.key")), pem: readFileSync(at("ca.pem")) });
    const first = read();
    await mesh.ca.rotate({ nowMs: NOW });
    const second = read();
    const write = (name: string, bytes: Uint8Array) => writeFileSync(at(name), bytes, { mode: 0o600 });

    // The list of old ones is written, the rest is not: the old CA goes on, and is not listed twice.
    write("ca.key", first.key);
    write("ca.pem", first.pem);
    expect(MeshCa.open(mesh.path)?.trust(NOW)).toBe(first.pem.toString());
    // The new key waits beside it: the same.
    write("ca.key.next", second.key);
    expect(MeshCa.open(mesh.path)?.trust(NOW)).toBe(first.pem.toString());
    await nodeOf(MeshCa.open(mesh.path)!, "worker", "a");
    // The new certificate is there, its key waits: the new CA, and the change is finished.
    write("ca.pem", second.pem);
    expect(MeshCa.open(mesh.path)?.trust(NOW)).toBe(second.pem.toString() + first.pem.toString());
    expect(readFileSync(at("ca.key"))).toEqual(second.key);
    expect(existsSync(at("ca.key.next"))).toBe(false);
    await nodeOf(MeshCa.open(mesh.path)!, "worker", "a");
  });
});
