import fc from "fast-check";
import { expect, it } from "vitest";
import {
  ADDRESS_LIMIT,
  BEACON_CONTEXT,
  type BeaconContent,
  DATAGRAM_LIMIT_BYTES,
  encodeBeacon,
  encodeProbe,
  parseDatagram,
} from "../../core/discovery/datagram.ts";
import { randomOf } from "../support/random.ts";

const MESH = "0123456789abcdef";
const CONTENT: BeaconContent = {
  meshId: MESH,
  meshName: "lab",
  node: 0xfffffff0,
  sequence: 7,
  time: 1_795_000_000_123,
  addresses: ["tcp://10.0.0.1:7450", "tcp://[2001:db8::1]:7450"],
  certificate: new Uint8Array(455).fill(1),
  authority: new Uint8Array(421).fill(2),
};
const sign = () => new Uint8Array(64).fill(9);

const word = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
  minLength: 1,
});

it("encodeBeacon, parseDatagram (F10): what goes in comes out, within one datagram", () => {
  const content = fc.record({
    meshId: fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString("hex")),
    meshName: word,
    node: fc.nat(0xffffffff),
    sequence: fc.nat(0xffffffff),
    time: fc.integer({ min: 0, max: 253_402_300_799_999 }),
    addresses: fc.array(word, { minLength: 1, maxLength: ADDRESS_LIMIT }),
    certificate: fc.uint8Array({ maxLength: 600 }),
    authority: fc.uint8Array({ maxLength: 421 }),
  });
  fc.assert(
    fc.property(content, (said) => {
      const bytes = encodeBeacon(said, sign);
      expect(bytes.length).toBeLessThanOrEqual(DATAGRAM_LIMIT_BYTES);
      const read = parseDatagram(bytes);
      if (read?.kind !== "beacon") return expect.unreachable();
      const { signed, signature, addresses, ...rest } = read.beacon;
      const { addresses: given, ...saidRest } = said;
      expect(rest).toEqual(saidRest);
      expect(given.filter((address) => addresses.includes(address))).toEqual(expect.arrayContaining([...addresses]));
      expect(Buffer.concat([signed, signature]).equals(bytes)).toBe(true);
    }),
    { seed: 20_261_124, numRuns: 300 },
  );
});

it("encodeBeacon (F10): the layout of its bytes is as drawn", () => {
  const asked: Uint8Array[] = [];
  const content = {
    ...CONTENT,
    certificate: Uint8Array.of(0xaa),
    authority: Uint8Array.of(0xbb, 0xbc),
    addresses: ["a"],
  };
  const bytes = encodeBeacon(content, (signed) => {
    asked.push(signed);
    return sign();
  });
  const words = [
    "6d657368 01 02 0000 0123456789abcdef",
    "fffffff0 00000007 000001a1ee565e7b",
    "03 6c6162 01 01 61 0001 aa 0002 bbbc",
  ];
  const signed = words.join("").replaceAll(" ", "");
  expect(Buffer.from(bytes).toString("hex")).toBe(signed + "09".repeat(64));
  expect(Buffer.from(asked[0]!).toString("latin1")).toBe(
    Buffer.concat([BEACON_CONTEXT, Buffer.from(signed, "hex")]).toString("latin1"),
  );
});

it("encodeBeacon (F10): addresses that do not fit are left out, the first stay", () => {
  const addresses = Array.from({ length: 40 }, (_, n) => `tcp://192.168.100.${100 + n}:7450`);
  const read = parseDatagram(encodeBeacon({ ...CONTENT, addresses }, sign));
  if (read?.kind !== "beacon") return expect.unreachable();
  const { length } = read.beacon.addresses;
  expect(read.beacon.addresses).toEqual(addresses.slice(0, length));
  expect(length).toBe(15);
  expect(() => encodeBeacon({ ...CONTENT, addresses: [] }, sign)).toThrow(/0 addresses/);
  expect(() => encodeBeacon({ ...CONTENT, addresses: ["x".repeat(300)] }, sign)).toThrow(/cannot be made/);
  expect(() => encodeBeacon({ ...CONTENT, meshName: "two words" }, sign)).toThrow(/printable ASCII/);
});

it("encodeProbe (F10): is at least as long as any beacon, so that an answer amplifies nothing", () => {
  expect(encodeProbe(MESH).length).toBe(DATAGRAM_LIMIT_BYTES);
  expect(DATAGRAM_LIMIT_BYTES).toBeLessThan(1_400);
  expect(parseDatagram(encodeProbe(MESH))).toEqual({ kind: "probe", meshId: MESH });
});

it("parseDatagram (F10): every beacon that is cut, or has more behind it, is none", () => {
  const bytes = encodeBeacon(CONTENT, sign);
  for (let length = 0; length < bytes.length; length++) {
    expect(parseDatagram(bytes.subarray(0, length))?.kind).not.toBe("beacon");
  }
  expect(parseDatagram(Buffer.concat([bytes, Uint8Array.of(0)]))).toBeUndefined();
  expect(parseDatagram(new Uint8Array(65_507))).toBeUndefined();
});

it("parseDatagram (F10): another version is told apart, and read no further", () => {
  const bytes = encodeBeacon(CONTENT, sign);
  bytes[4] = 2;
  expect(parseDatagram(bytes)).toEqual({ kind: "wrong-version", meshId: MESH, version: 2 });
});

it.each([
  ["another magic", 0, 0x4d],
  ["an unknown kind", 5, 3],
  ["a reserved byte", 7, 1],
  ["a time beyond the year 10,000", 24, 1],
  ["an empty name", 32, 0],
  ["a space in the name", 33, 0x20],
  ["no addresses", 36, 0],
  ["more addresses than allowed", 36, 17],
  ["a longer first address", 37, 255],
])("parseDatagram (F10): %s is refused", (_what, at, value) => {
  const bytes = encodeBeacon(CONTENT, sign);
  bytes[at] = value;
  expect(parseDatagram(bytes)).toBeUndefined();
});

it("parseDatagram (F10): garbage and beacons with flipped bytes never make it throw (seeded)", () => {
  const random = randomOf(74_50);
  const good = encodeBeacon(CONTENT, sign);
  let beacons = 0;
  for (let round = 0; round < 20_000; round++) {
    const bytes = round % 2 === 0 ? new Uint8Array(Math.floor(random() * 1_500)) : good.slice();
    if (round % 2 === 0) for (let at = 0; at < bytes.length; at++) bytes[at] = Math.floor(random() * 256);
    else
      for (let flips = 0; flips < 3; flips++)
        bytes[Math.floor(random() * bytes.length)]! ^= 1 << Math.floor(random() * 8);
    if (round % 4 === 0) bytes.set(good.subarray(0, Math.min(36, bytes.length)));
    const read = parseDatagram(bytes);
    if (read?.kind !== "beacon") continue;
    beacons++;
    expect(read.beacon.addresses.length).toBeLessThanOrEqual(ADDRESS_LIMIT);
  }
  expect(beacons).toBeGreaterThan(100);
});
