import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isMeshError } from "../../core/errors.ts";
import { createKeyPair, verifySignature } from "../../core/identity/keys.ts";
import { derOf } from "../../core/identity/pem.ts";
import { Revocations } from "../../core/identity/revocations.ts";
import { Trust } from "../../core/identity/trust.ts";
import { CERTIFICATE_LIMIT_BYTES, verifyCertificate } from "../../core/identity/verify.ts";
import { DAY, HOUR, NOW, nodeOf, oddCertificate, refusalOf, type TestMesh, testMesh, YEAR } from "./support.ts";

let mesh: TestMesh;
let other: TestMesh;
let gpu1: Awaited<ReturnType<typeof nodeOf>>;

beforeAll(async () => {
  mesh = await testMesh();
  other = await testMesh();
  gpu1 = await nodeOf(mesh.ca, "worker", "gpu1");
});

afterAll(() => {
  mesh[Symbol.dispose]();
  other[Symbol.dispose]();
});

const trust = () => new Trust(mesh.ca.trust(NOW));

/** Why a certificate is refused. */
function refused(der: Uint8Array, at = NOW, by = trust()): string {
  return refusalOf("AUTHENTICATION", () => verifyCertificate(der, by, at));
}

describe("verifyCertificate", () => {
  it("tells who somebody is, the same when asked again", () => {
    const by = trust();
    const peer = verifyCertificate(gpu1.certificate, by, NOW);
    expect(peer).toMatchObject({ meshId: mesh.ca.meshId, role: "worker", name: "gpu1" });
    expect(peer.serial).toMatch(/^[4-7][0-9a-f]{31}$/);
    expect(new Date(peer.notBefore).toISOString()).toBe("2026-11-23T12:00:00.000Z");
    expect(new Date(peer.notAfter).toISOString()).toBe("2027-02-22T12:00:00.000Z");
    expect(verifyCertificate(gpu1.certificate, by, NOW)).toBe(peer);
  });

  it.each([-23, -1, 1, 23])("X12 accepts a new certificate by a clock that is off by %d h", (hours) => {
    expect(verifyCertificate(gpu1.certificate, trust(), NOW + hours * HOUR).name).toBe("gpu1");
  });

  it("X12 names the clock that is a year behind", () => {
    expect(refused(gpu1.certificate, NOW - YEAR)).toBe(
      "the certificate of gpu1 is valid from 2026-11-23T12:00:00Z to 2027-02-22T12:00:00Z, and this machine's clock " +
        "says 2025-11-24T12:00:00Z: set the clock (timedatectl set-ntp true)",
    );
  });

  it("X12 X22 names the clock that is a year ahead, or the expired certificate and how to get another", () => {
    expect(refused(gpu1.certificate, NOW + YEAR)).toBe(
      "the certificate of gpu1 is valid from 2026-11-23T12:00:00Z to 2027-02-22T12:00:00Z, and this machine's clock " +
        "says 2027-11-24T12:00:00Z: if the clock is wrong, set the clock (timedatectl set-ntp true); if it is right, the " +
        "certificate has expired: join the node again with a new token (mesh token, where the coordinator runs)",
    );
  });

  it("X22 refuses a certificate that was good once when its time is over, also when it was met before", () => {
    const by = trust();
    verifyCertificate(gpu1.certificate, by, NOW);
    expect(verifyCertificate(gpu1.certificate, by, gpu1.expiresAt).name).toBe("gpu1");
    expect(refused(gpu1.certificate, gpu1.expiresAt + 1, by)).toContain("expired");
  });

  it("X22 refuses one that is not valid yet", async () => {
    const future = await nodeOf(mesh.ca, "worker", "gpu2", NOW + 2 * DAY);
    expect(refused(future.certificate)).toContain("set the clock");
  });

  it("X22 refuses one of an expired CA", async () => {
    using old = await testMesh(NOW - 10 * YEAR + HOUR);
    const by = new Trust(old.ca.trust(NOW));
    const leaf = await oddCertificate(old, { uri: `mesh://${old.ca.meshId}/worker/gpu1` });
    expect(verifyCertificate(leaf, by, NOW).name).toBe("gpu1");
    const words = refused(leaf, NOW + 2 * HOUR, by);
    expect(words).toContain("the CA that signed the certificate of gpu1 is valid from");
    expect(words).toContain("the CA has expired: replace it with mesh rotate");
  });

  it("X22 refuses one of another mesh's CA, naming both meshes", async () => {
    const stranger = await nodeOf(other.ca, "worker", "gpu1");
    const words = refused(stranger.certificate);
    expect(words).toContain("not signed by the CA of this mesh");
    expect(words).toContain(`it belongs to mesh ${other.ca.meshId}, this is ${mesh.ca.meshId}`);
  });

  it("X22 refuses one that claims this mesh, signed by another CA", async () => {
    const forged = await oddCertificate(other, { uri: `mesh://${mesh.ca.meshId}/worker/gpu1` });
    expect(refused(forged)).toContain("is not signed by the CA of this mesh");
  });

  it("X22 refuses one of our CA that names another mesh", async () => {
    const odd = await oddCertificate(mesh, { uri: `mesh://${other.ca.meshId}/worker/gpu1` });
    expect(refused(odd)).toContain(`names it in mesh ${other.ca.meshId}, not in this one`);
  });

  it.each([
    ["no such role", "mesh://ID/admin/gpu1", "mesh"],
    ["no name", "mesh://ID/worker/", "mesh"],
    ["a name that is none", "mesh://ID/worker/-gpu1", "mesh"],
    ["a path", "mesh://ID/worker/gpu1/x", "mesh"],
    ["another scheme", "https://ID/worker/gpu1", "mesh"],
    ["a mesh id that is none", "mesh://abc/worker/gpu1", "mesh"],
    ["another DNS name", "mesh://ID/worker/gpu1", "example.net"],
    ["no DNS name", "mesh://ID/worker/gpu1", null],
    ["one more DNS name", "mesh://ID/worker/gpu1", ["mesh", "example.net"]],
    ["names within a name", "mesh://ID/worker/gpu1, DNS:mesh", null],
  ])("X22 refuses one of our CA with %s", async (_, uri, dns) => {
    const odd = await oddCertificate(mesh, { uri: uri.replace("ID", mesh.ca.meshId), dns });
    expect(refused(odd)).toContain("a certificate that names no node of a mesh was signed by this mesh's CA");
  });

  it.each([["server"], ["client"], []] as const)("X22 refuses one with no other usage than %s", async (...usages) => {
    const odd = await oddCertificate(mesh, { extensions: usages as ["server"] });
    expect(refused(odd)).toContain("the certificate of gpu1 is not for both ends of a link");
  });

  it("X22 refuses one with a key that is not on P-256", async () => {
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const odd = await oddCertificate(mesh, { publicKey: publicKey.export({ type: "spki", format: "der" }) });
    expect(refused(odd)).toContain("P-256");
  });

  it("X22 refuses a CA's certificate as a node's", async () => {
    expect(refused(derOf(mesh.ca.certificatePem))).toContain("is a CA's");
    expect(refused(await oddCertificate(mesh, { extensions: ["server", "client", "ca"] }))).toContain("is a CA's");
  });

  it("X22 refuses what was revoked, also when it was met before", () => {
    const by = trust();
    const { serial } = verifyCertificate(gpu1.certificate, by, NOW);
    const revocations = new Revocations();
    by.revocations = revocations;
    revocations.revokeSerial(serial, { nowMs: NOW, notAfter: gpu1.expiresAt });
    expect(refused(gpu1.certificate, NOW, by)).toContain(`the certificate of gpu1 (serial ${serial}) was revoked`);
  });

  it("refuses a large certificate before it looks into it", () => {
    const large = Buffer.concat([gpu1.certificate, Buffer.alloc(CERTIFICATE_LIMIT_BYTES)]);
    expect(refused(large)).toContain(`over ${CERTIFICATE_LIMIT_BYTES}`);
  });

  it("refuses bytes behind the certificate, and text instead of bytes", () => {
    expect(refused(Buffer.concat([gpu1.certificate, Buffer.from([0])]))).toContain("is none");
    expect(refused(Buffer.from(gpu1.credentials.certificatePem))).toContain("is none");
    expect(refused(new Uint8Array(0))).toContain("is none");
  });

  it("refuses whatever was changed in a certificate, with no other error", () => {
    const by = trust();
    const change = fc.record({ at: fc.nat(gpu1.certificate.length - 1), bits: fc.integer({ min: 1, max: 255 }) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        const bytes = Uint8Array.from(gpu1.certificate);
        for (const { at, bits } of changes) bytes[at]! ^= bits;
        if (Buffer.from(bytes).equals(gpu1.certificate)) return; // changed back
        expect(
          isMeshError(
            caught(() => verifyCertificate(bytes, by, NOW)),
            "AUTHENTICATION",
          ),
        ).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it("refuses any bytes, with no other error", () => {
    const by = trust();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        expect(
          isMeshError(
            caught(() => verifyCertificate(bytes, by, NOW)),
            "AUTHENTICATION",
          ),
        ).toBe(true);
      }),
    );
  });
});

function caught(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error;
  }
}

describe("Trust", () => {
  it("believes another CA of the mesh as soon as it replaces the first, and the first no more", async () => {
    using place = await testMesh();
    const before = await nodeOf(place.ca, "worker", "a");
    const by = new Trust(before.credentials.caPem);
    verifyCertificate(before.certificate, by, NOW);
    await place.ca.rotate({ nowMs: NOW, overlapMs: 0 });
    const after = await nodeOf(place.ca, "worker", "b");
    expect(refused(after.certificate, NOW, by)).toContain("not signed by the CA of this mesh");
    by.replace(place.ca.trust(NOW));
    expect(verifyCertificate(after.certificate, by, NOW).name).toBe("b");
    expect(refused(before.certificate, NOW, by)).toContain("the CA was replaced while that node was away");
  });

  it("stays as it is when another mesh's CAs are to replace its own", () => {
    const by = trust();
    expect(refusalOf("AUTHENTICATION", () => by.replace(other.ca.trust(NOW)))).toContain("cannot replace");
    expect(by.caPem).toBe(mesh.ca.trust(NOW));
    expect(verifyCertificate(gpu1.certificate, by, NOW).name).toBe("gpu1");
  });

  it.each([
    ["nothing", () => "", "not 1 to 4 certificates"],
    ["other text", () => "no certificate", "not 1 to 4 certificates"],
    ["a node's certificate", () => gpu1.credentials.certificatePem, "not that of a mesh's CA"],
    ["damaged PEM", () => mesh.ca.certificatePem.replace("MII", "MIA"), "not that of a mesh's CA"],
    ["CAs of two meshes", () => mesh.ca.certificatePem + other.ca.certificatePem, "several meshes"],
    ["five CAs", () => mesh.ca.certificatePem.repeat(5), "not 1 to 4 certificates"],
    ["a megabyte", () => mesh.ca.certificatePem + " ".repeat(2 ** 20), "not 1 to 4 certificates"],
  ])("refuses %s as its CAs", (_, text, words) => {
    expect(refusalOf("AUTHENTICATION", () => new Trust(text()))).toContain(words);
  });

  it("knows no more leafs than it has room for, and forgets the oldest", () => {
    const by = trust();
    const leaf = { peer: verifyCertificate(gpu1.certificate, by, NOW), authority: by.authorities[0]! };
    for (let n = 0; n < 3000; n++) by.remember(String(n), leaf);
    expect(by.recall("0")).toBeUndefined();
    expect(by.recall("2999")).toBe(leaf);
    expect(by.recall("1976")).toBe(leaf);
    expect(by.recall("1975")).toBeUndefined();
  });
});

describe("verifySignature", () => {
  const { publicKey } = createKeyPair();

  it("tells the signature of the certificate's holder from every other", async () => {
    const peer = verifyCertificate(gpu1.certificate, trust(), NOW);
    const bytes = new Uint8Array([1, 2, 3]);
    const signature = gpu1.sign(bytes);
    expect(signature).toHaveLength(64);
    expect(verifySignature(peer.publicKey, bytes, signature)).toBe(true);
    expect(verifySignature(peer.publicKey, new Uint8Array([1, 2, 4]), signature)).toBe(false);
    const somebody = await nodeOf(mesh.ca, "worker", "gpu1");
    expect(verifySignature(peer.publicKey, bytes, somebody.sign(bytes))).toBe(false);
    expect(publicKey).toHaveLength(91);
  });

  it("takes no bytes of another form for a signature, and never throws", () => {
    const { publicKey: key } = verifyCertificate(gpu1.certificate, trust(), NOW);
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 80 }), fc.uint8Array({ minLength: 64, maxLength: 64 })),
        (bytes) => {
          expect(verifySignature(key, new Uint8Array(10), bytes)).toBe(false);
        },
      ),
    );
    expect(verifySignature(key, new Uint8Array(10), new Uint8Array(64))).toBe(false);
    expect(verifySignature(key, new Uint8Array(10), new Uint8Array(64).fill(255))).toBe(false);
  });
});
