import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isMeshError } from "../../core/errors.ts";
import {
  checkCertified,
  checkCertifyRequest,
  checkJoined,
  checkJoinRequest,
  checkPinned,
  type ExpectedCertificate,
  type Joined,
  type JoinRequest,
  joinRequest,
} from "../../core/identity/join.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import { parseToken, type Token } from "../../core/identity/token.ts";
import { TokenStore } from "../../core/identity/token-store.ts";
import { Codec } from "../../core/wire/codec.ts";
import { DAY, folder, NOW, nodeOf, oddCertificate, refusalOf, type TestMesh, testMesh, YEAR } from "./support.ts";

let mesh: TestMesh;
let other: TestMesh;
let token: Token;
let coordinator: Uint8Array;

beforeAll(async () => {
  mesh = await testMesh();
  other = await testMesh();
  coordinator = (await nodeOf(mesh.ca, "coordinator", "coordinator")).certificate;
  token = tokenOf(mesh);
});

afterAll(() => {
  mesh[Symbol.dispose]();
  other[Symbol.dispose]();
});

function tokenOf({ ca }: TestMesh): Token {
  using place = folder();
  const store = new TokenStore({ path: place.at("tokens.json"), ca, audit: () => {} });
  return parseToken(store.create({ role: "worker" }, NOW));
}

const KEY = createKeyPair().publicKey;
const codec = new Codec();
/** As it arrives. */
const sent = (value: unknown) => codec.decodeControl(codec.encode(value));

describe("checkPinned", () => {
  const refused = (caPem: string, leaf: Uint8Array, at = NOW) =>
    refusalOf("AUTHENTICATION", () => checkPinned(caPem, leaf, token.pin, at));

  it("accepts the coordinator of the token's mesh", () => {
    expect(checkPinned(mesh.ca.certificatePem, coordinator, token.pin, NOW)).toMatchObject({ role: "coordinator" });
  });

  it("accepts it among other CAs, which it does not believe", () => {
    const both = other.ca.certificatePem + mesh.ca.certificatePem;
    expect(checkPinned(both, coordinator, token.pin, NOW).name).toBe("coordinator");
  });

  it("X22 refuses another mesh, whatever CAs it shows beside its own", async () => {
    const theirs = await nodeOf(other.ca, "coordinator", "coordinator");
    const words = refused(other.ca.certificatePem, theirs.certificate);
    expect(words).toContain("does not have the CA of this token");
    // Somebody in between may know our CA's certificate; it is no secret.
    expect(refused(other.ca.certificatePem + mesh.ca.certificatePem, theirs.certificate)).toContain(
      "not signed by the CA",
    );
    const forged = await oddCertificate(other, { uri: `mesh://${mesh.ca.meshId}/coordinator/coordinator` });
    expect(refused(mesh.ca.certificatePem, forged)).toContain("not signed by the CA");
  });

  it("X22 refuses a worker of the mesh that plays the coordinator", async () => {
    const { certificate } = await nodeOf(mesh.ca, "worker", "gpu1");
    expect(refused(mesh.ca.certificatePem, certificate)).toContain(
      "gpu1, which answers there, is a worker of the mesh",
    );
  });

  it("accepts a token made before the CA was replaced, as long as the old one is trusted", async () => {
    using place = await testMesh();
    const before = tokenOf(place);
    await place.ca.rotate({ nowMs: NOW, overlapMs: DAY });
    const { certificate } = await nodeOf(place.ca, "coordinator", "c");
    for (const { pin } of [before, tokenOf(place)]) {
      expect(checkPinned(place.ca.certificatePem, certificate, pin, NOW).name).toBe("c");
    }
    const late = NOW + DAY * 0.8;
    const next = await nodeOf(place.ca, "coordinator", "c", late);
    const words = refusalOf("AUTHENTICATION", () =>
      checkPinned(place.ca.certificatePem, next.certificate, before.pin, late),
    );
    expect(words).toContain("its CA was replaced since the token was made");
    expect(checkPinned(place.ca.certificatePem, next.certificate, tokenOf(place).pin, late).name).toBe("c");
  });

  it("refuses a CA that replaced the pinned one without an overlap", async () => {
    using place = await testMesh();
    const { pin } = tokenOf(place);
    const stolen = await nodeOf(place.ca, "coordinator", "c");
    await place.ca.rotate({ nowMs: NOW, overlapMs: 0 });
    const { certificate } = await nodeOf(place.ca, "coordinator", "c");
    const by = (leaf: Uint8Array, itsPin: Uint8Array) =>
      refusalOf("AUTHENTICATION", () => checkPinned(place.ca.certificatePem, leaf, itsPin, NOW));
    expect(by(certificate, pin)).toContain("its CA was replaced since the token was made");
    expect(by(stolen.certificate, tokenOf(place).pin)).toContain("not signed by the CA");
  });

  it("X12 names the clock of the joining machine", () => {
    expect(refused(mesh.ca.certificatePem, coordinator, NOW - YEAR)).toContain("this machine's clock says 2025-11-24");
    expect(refused(mesh.ca.certificatePem, coordinator, NOW + YEAR)).toContain("set the clock");
    expect(checkPinned(mesh.ca.certificatePem, coordinator, token.pin, NOW - DAY / 24).name).toBe("coordinator");
  });

  it("refuses any text and bytes, with no other error", () => {
    const pem = fc
      .string({ maxLength: 200 })
      .map((text) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----`);
    fc.assert(
      fc.property(fc.oneof(fc.string(), pem), fc.uint8Array(), (caPem, leaf) => {
        refused(caPem, leaf);
      }),
    );
    expect(refused(mesh.ca.certificatePem + " ".repeat(2 ** 20), coordinator)).toContain("does not have the CA");
  });
});

describe("checkJoinRequest", () => {
  const good = (): JoinRequest => joinRequest(token, "worker", "gpu1", KEY);

  it("takes what a stranger sends", () => {
    const { secret, ...rest } = checkJoinRequest(sent(good()));
    expect(Buffer.from(secret).equals(token.secret)).toBe(true);
    expect(rest).toMatchObject({ meshId: mesh.ca.meshId, role: "worker", name: "gpu1" });
    expect(codec.encode(good()).length).toBeLessThan(400);
  });

  it.each([
    ["meshId", "0123"],
    ["meshId", 5],
    ["tokenId", new Uint8Array(7)],
    ["tokenId", "12345678"],
    ["secret", new Uint8Array(33)],
    ["secret", Array(32).fill(0)],
    ["name", "a b"],
    ["name", { toString: "gpu1" }],
    ["role", "root"],
    ["role", ["worker"]],
    ["publicKey", new Uint8Array(90)],
    ["publicKey", undefined],
  ])("refuses one whose %s is %j", (field, value) => {
    const message = refusalOf("PROTOCOL", () => checkJoinRequest({ ...good(), [field]: value }));
    expect(message).toContain("join request");
  });

  it("refuses to make somebody coordinator", () => {
    const asked = { ...good(), role: "coordinator" };
    expect(refusalOf("AUTHENTICATION", () => checkJoinRequest(asked))).toContain("may not join as coordinator");
  });

  it("refuses any other value as PROTOCOL", () => {
    fc.assert(fc.property(fc.anything(), (value) => void refusalOf("PROTOCOL", () => checkJoinRequest(value))));
  });
});

describe("checkCertifyRequest", () => {
  it("takes a key alone, or with whom it is for", () => {
    expect(checkCertifyRequest({ publicKey: KEY, more: 1 })).toEqual({ publicKey: KEY });
    const full = { publicKey: KEY, role: "head", name: "run-1" };
    expect(checkCertifyRequest(full)).toEqual(full);
  });

  it.each([{}, null, { publicKey: "x" }, { publicKey: KEY, role: "x" }, { publicKey: KEY, name: "" }])(
    "refuses %j",
    (value) => {
      refusalOf("PROTOCOL", () => checkCertifyRequest(value));
    },
  );
});

describe("checkJoined", () => {
  let expected: ExpectedCertificate;
  let good: Joined;

  beforeAll(async () => {
    const { meshId } = mesh.ca;
    expected = { meshId, role: "worker", name: "gpu1", publicKey: KEY };
    const certificatePem = await mesh.ca.issue(expected, { nowMs: NOW });
    good = {
      meshId,
      meshName: "lab",
      coordinators: ["tcp://10.0.0.1:7450"],
      certificatePem,
      caPem: mesh.ca.trust(NOW),
    };
  });

  it("takes what the coordinator answers", () => {
    expect(checkJoined(sent(good), token, expected, NOW)).toEqual(good);
    const { certificatePem, caPem } = good;
    expect(checkCertified(sent(good), expected, NOW)).toEqual({ certificatePem, caPem });
  });

  it.each([
    ["meshId", "x"],
    ["meshName", "a b"],
    ["meshName", "../x"],
    ["coordinators", []],
    ["coordinators", ["tcp://a\n"]],
    ["coordinators", Array(17).fill("tcp://a:1")],
    ["coordinators", ["x".repeat(301)]],
    ["certificatePem", "x"],
    ["certificatePem", 1],
    ["caPem", undefined],
    ["caPem", "-".repeat(10_000)],
  ])("refuses one whose %s is %j", (field, value) => {
    refusalOf("PROTOCOL", () => checkJoined({ ...good, [field]: value }, token, expected, NOW));
  });

  it("X22 refuses a certificate for another name, role or key", async () => {
    for (const change of [{ name: "gpu2" }, { role: "head" as const }, { publicKey: createKeyPair().publicKey }]) {
      const certificatePem = await mesh.ca.issue({ ...expected, ...change }, { nowMs: NOW });
      const run = () => checkJoined({ ...good, certificatePem }, token, expected, NOW);
      expect(refusalOf("AUTHENTICATION", run)).toContain("to worker gpu1");
    }
  });

  it("X22 refuses another mesh's answer", async () => {
    const certificatePem = await other.ca.issue(expected, { nowMs: NOW });
    const theirs = { ...good, certificatePem, caPem: other.ca.trust(NOW), meshId: other.ca.meshId };
    refusalOf("AUTHENTICATION", () => checkJoined(theirs, token, expected, NOW));
    refusalOf("AUTHENTICATION", () => checkJoined({ ...good, certificatePem }, token, expected, NOW));
    const theirId = { ...good, meshId: other.ca.meshId };
    expect(refusalOf("AUTHENTICATION", () => checkJoined(theirId, token, expected, NOW))).toContain(
      "another mesh than",
    );
    const otherPin = () => checkJoined(good, tokenOf(other), expected, NOW);
    expect(refusalOf("AUTHENTICATION", otherPin)).toContain("another mesh than");
  });

  it("refuses any other value as PROTOCOL", () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        for (const check of [
          checkJoined.bind(null, value, token, expected),
          checkCertified.bind(null, value, expected),
        ]) {
          try {
            check(NOW);
            expect.fail("it was taken");
          } catch (error) {
            expect(isMeshError(error, "PROTOCOL")).toBe(true);
          }
        }
      }),
    );
  });
});
