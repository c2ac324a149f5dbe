import { afterAll, beforeAll, expect, it } from "vitest";
import { encodeBeacon, encodeProbe } from "../../core/discovery/datagram.ts";
import { BeaconGate, FRESH_MS } from "../../core/discovery/gate.ts";
import type { Identity } from "../../core/identity/identity.ts";
import { Revocations } from "../../core/identity/revocations.ts";
import { Trust } from "../../core/identity/trust.ts";
import { RateLimit } from "../../core/rate-limit.ts";
import { DAY, NOW, nodeOf, type TestMesh, testMesh } from "../identity/support.ts";
import { randomOf } from "../support/random.ts";
import { beaconOf, contentOf } from "./support.ts";

let mesh: TestMesh;
let other: TestMesh;
let coordinator: Identity;

beforeAll(async () => {
  mesh = await testMesh();
  other = await testMesh();
  coordinator = await nodeOf(mesh.ca, "coordinator", "coordinator");
});

afterAll(() => {
  mesh[Symbol.dispose]();
  other[Symbol.dispose]();
});

const byTrust = () => new BeaconGate(mesh.ca.meshId, { trust: new Trust(mesh.ca.certificatePem) });
const byPin = () => new BeaconGate(mesh.ca.meshId, { pin: mesh.ca.pin });
const beacon = (changes = {}) => beaconOf(mesh.ca, coordinator, changes);

it.each([
  ["a node of the mesh", byTrust],
  ["somebody with a join token", byPin],
])("BeaconGate (F10): %s learns where the mesh listens", (_who, gateOf) => {
  expect(gateOf().take(beacon(), "10.0.0.1", 0, NOW)).toEqual({
    meshId: mesh.ca.meshId,
    meshName: "lab",
    node: 4711,
    coordinator: "coordinator",
    addresses: ["tcp://10.0.0.1:7450", "tcp://127.0.0.1:7450"],
    from: "10.0.0.1",
  });
});

it.each([
  ["a node of the mesh", byTrust],
  ["somebody with a join token", byPin],
])("BeaconGate (F10): %s believes no forged beacon", async (_who, gateOf) => {
  const gate = gateOf();
  const { ca } = mesh;
  const impostor = await nodeOf(other.ca, "coordinator", "coordinator");
  const worker = await nodeOf(ca, "worker", "gpu1");
  const good = beacon();
  const flipped = good.slice();
  flipped[34]! ^= 1; // in the mesh's name
  const unsigned = encodeBeacon(contentOf(ca, coordinator), () => new Uint8Array(64));
  const forgeries = {
    "another mesh's CA and key": beaconOf(other.ca, impostor, { meshId: ca.meshId }),
    "another mesh's key, our CA": beaconOf(ca, impostor),
    "our certificate, another's signature": encodeBeacon(contentOf(ca, coordinator), (bytes) => impostor.sign(bytes)),
    "a worker of the mesh": beaconOf(ca, worker),
    "changed on the way": flipped,
    "no signature": unsigned,
    "a signature without the context": encodeBeacon(contentOf(ca, coordinator), (bytes) =>
      coordinator.sign(bytes.subarray(22)),
    ),
    "no certificate": beacon({ certificate: new Uint8Array() }),
    "garbage for a certificate": beacon({ certificate: new Uint8Array(400).fill(0x30) }),
    "the CA's own certificate": beacon({ certificate: contentOf(ca, coordinator).authority }),
  };
  let now = 0;
  for (const [what, bytes] of Object.entries(forgeries)) {
    now += 1_000;
    expect(gate.take(bytes, "10.0.0.66", now, NOW), what).toBeUndefined();
  }
  expect(gate.ignored).toMatchObject({ forged: Object.keys(forgeries).length, unchecked: 0 });
  expect(gate.take(good, "10.0.0.1", now, NOW)).toBeDefined();
});

it("BeaconGate (F10): a garbled CA is nothing to somebody with a join token", () => {
  const gate = byPin();
  expect(gate.take(beacon({ authority: new Uint8Array(421) }), "10.0.0.1", 0, NOW)).toBeUndefined();
  expect(gate.refusal).toBe("its CA is not that of the join token");
  // A node of the mesh knows its CA, and does not look at what the beacon brings.
  expect(byTrust().take(beacon({ authority: new Uint8Array(421) }), "10.0.0.1", 0, NOW)).toBeDefined();
});

it("BeaconGate (F10): who knows neither id nor CA of a mesh sees nothing of it", async () => {
  const stranger = new BeaconGate(other.ca.meshId, { trust: new Trust(other.ca.certificatePem) });
  const withId = new BeaconGate(mesh.ca.meshId, { pin: other.ca.pin });
  const withPin = new BeaconGate(other.ca.meshId, { pin: mesh.ca.pin });
  for (const gate of [stranger, withId, withPin]) expect(gate.take(beacon(), "10.0.0.1", 0, NOW)).toBeUndefined();
  expect(stranger.ignored).toMatchObject({ foreign: 1, forged: 0 });
  // A mesh that uses this mesh's CA under its own id does not get through by the pin either.
  const relabelled = beacon({ meshId: other.ca.meshId });
  expect(withPin.take(relabelled, "10.0.0.1", 0, NOW)).toBeUndefined();
});

it("BeaconGate (F10): expired and revoked coordinators are not believed", async () => {
  const late = byTrust();
  expect(late.take(beacon({ time: NOW + 100 * DAY }), "10.0.0.1", 0, NOW + 100 * DAY)).toBeUndefined();
  expect(late.refusal).toMatch(/valid from .* to /);
  const revocations = new Revocations();
  const trust = new Trust(mesh.ca.certificatePem, revocations);
  const gate = new BeaconGate(mesh.ca.meshId, { trust });
  expect(gate.take(beacon(), "10.0.0.1", 0, NOW)).toBeDefined();
  trust.revocations = { isRevoked: () => true };
  expect(gate.take(beacon({ sequence: 2 }), "10.0.0.1", 0, NOW)).toBeUndefined();
  expect(gate.refusal).toMatch(/was revoked/);
});

it("BeaconGate (F10): a repeated beacon is not looked at again, and no older one of the same node", () => {
  const gate = byTrust();
  expect(gate.take(beacon({ sequence: 5 }), "10.0.0.1", 0, NOW)).toBeDefined();
  for (const sequence of [5, 4, 1]) {
    expect(gate.take(beacon({ sequence, time: NOW + 1 }), "10.0.0.1", 60_000, NOW)).toBeUndefined();
  }
  expect(gate.ignored).toMatchObject({ old: 3, unchecked: 0, forged: 0 });
  expect(gate.take(beacon({ sequence: 6 }), "10.0.0.1", 60_000, NOW)).toBeDefined();
});

it("BeaconGate (F10): beacons of a coordinator that was started again replace those of before, not the reverse", () => {
  const gate = byTrust();
  const before = (sequence: number) => beacon({ sequence, node: 100, time: NOW + sequence });
  const after = beacon({ sequence: 1, node: 200, time: NOW + 1_000 });
  expect(gate.take(before(7), "10.0.0.1", 0, NOW)?.node).toBe(100);
  expect(gate.take(after, "10.0.0.1", 100, NOW)?.node).toBe(200);
  expect(gate.take(before(8), "10.0.0.66", 200, NOW)).toBeUndefined();
  // Its clock was set back while it was away: after a silence it is heard all the same.
  expect(gate.take(before(8), "10.0.0.1", 15_100, NOW)?.node).toBe(100);
});

it.each([
  ["behind", -FRESH_MS - 60_000, /6 min behind this machine's: set the clocks/],
  ["ahead", FRESH_MS + 3_300_000, /60 min ahead of this machine's: set the clocks/],
])("BeaconGate (F10): a beacon whose time is %s is ignored, and said why", (_where, offset, words) => {
  const gate = byTrust();
  expect(gate.take(beacon({ time: NOW + offset }), "10.0.0.1", 0, NOW)).toBeUndefined();
  expect(gate.ignored.stale).toBe(1);
  expect(gate.refusal).toMatch(words);
  const limit = offset < 0 ? -FRESH_MS : FRESH_MS;
  expect(gate.take(beacon({ time: NOW + limit }), "10.0.0.1", 0, NOW)).toBeDefined();
  expect(gate.refusal).toBeUndefined();
});

it("BeaconGate (F10): of a flood only 10 a second are checked for each address, 100 for all, and little is remembered", () => {
  const gate = byTrust();
  const forged = encodeBeacon(contentOf(mesh.ca, coordinator), () => new Uint8Array(64));
  for (let n = 0; n < 1_000; n++) gate.take(forged, "10.0.0.66", n / 10, NOW);
  expect(gate.ignored).toMatchObject({ forged: 10, unchecked: 990 });
  // Somebody else is still heard.
  expect(gate.take(beacon(), "10.0.0.1", 100, NOW)).toBeDefined();
  const later = encodeBeacon(contentOf(mesh.ca, coordinator, { sequence: 2 }), () => new Uint8Array(64));
  for (let n = 0; n < 20_000; n++) gate.take(later, `10.1.${n >> 8}.${n & 255}`, 1_000 + n / 100, NOW);
  expect(gate.ignored.forged).toBe(110);
  expect(gate.size).toBe(100);
  expect(gate.take(beacon({ sequence: 2 }), "10.0.0.1", 2_100, NOW)).toBeDefined();
});

it("BeaconGate (F10): what is not of its mesh costs no check", () => {
  const gate = byTrust();
  for (let n = 0; n < 50; n++) {
    gate.take(beaconOf(other.ca, coordinator), "10.0.0.1", 0, NOW);
    gate.take(encodeProbe(mesh.ca.meshId), "10.0.0.1", 0, NOW);
    gate.take(new Uint8Array(n), "10.0.0.1", 0, NOW);
  }
  expect(gate.ignored).toMatchObject({ foreign: 100, malformed: 50, unchecked: 0, forged: 0 });
  expect(gate.size).toBe(0);
});

it("BeaconGate (F10): another version of discovery is named", () => {
  const gate = byTrust();
  const bytes = beacon();
  bytes[4] = 9;
  expect(gate.take(bytes, "10.0.0.1", 0, NOW)).toBeUndefined();
  expect(gate.ignored.otherVersion).toBe(1);
  expect(gate.refusal).toMatch(/version 9: run the same build/);
});

it("BeaconGate (F10): garbage and beacons with flipped bits are never believed and never thrown at anybody (seeded)", () => {
  const random = randomOf(10);
  for (const gate of [byTrust(), byPin()]) {
    const good = beacon();
    for (let round = 0; round < 3_000; round++) {
      const bytes = good.slice(0, round % 7 === 0 ? Math.floor(random() * good.length) : good.length);
      const flips = 1 + Math.floor(random() * 4);
      for (let n = 0; n < flips && bytes.length > 0; n++) {
        bytes[Math.floor(random() * bytes.length)]! ^= 1 + Math.floor(random() * 255);
      }
      if (Buffer.from(bytes).equals(good)) continue;
      expect(gate.take(bytes, "10.0.0.66", round * 1_000, NOW)).toBeUndefined();
    }
    expect(gate.take(good, "10.0.0.1", 4_000_000, NOW)).toBeDefined();
    expect(gate.ignored.forged).toBeGreaterThan(500);
  }
});

it("RateLimit (F10): counts each key and all together, anew each second", () => {
  const limit = new RateLimit({ each: 2, all: 3 });
  expect(["a", "a", "a", "b", "c"].map((key) => limit.take(key, 0))).toEqual([true, true, false, true, false]);
  expect(limit.size).toBe(2);
  expect(limit.take("a", 999)).toBe(false);
  expect(limit.take("a", 1_000)).toBe(true);
});
