import { statSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isMeshError } from "../../core/errors.ts";
import { checkRevocations, type RevocationData, Revocations } from "../../core/identity/revocations.ts";
import { Trust } from "../../core/identity/trust.ts";
import { verifyCertificate } from "../../core/identity/verify.ts";
import { Codec } from "../../core/wire/codec.ts";
import { DAY, folder, HOUR, NOW, nodeOf, refusalOf, testMesh, YEAR } from "./support.ts";

const A = "4".repeat(32);
const B = "5".repeat(32);

describe("Revocations", () => {
  it("revokes one certificate by its serial, and no other", () => {
    const list = new Revocations();
    list.revokeSerial(A, { nowMs: NOW, notAfter: NOW + DAY });
    expect(list.isRevoked(A, "gpu1", NOW)).toBe(true);
    expect(list.isRevoked(B, "gpu1", NOW)).toBe(false);
  });

  it.each(["", "44", "G".repeat(32), "A".repeat(32)])("refuses the serial %j", (serial) => {
    const list = new Revocations();
    refusalOf("USAGE", () => list.revokeSerial(serial, { nowMs: NOW, notAfter: NOW }));
    expect(list.version).toBe(0);
  });

  it.each([0, 1, 250, 749, 750, 999])(
    "X22 revokes what a name got before, and nothing it gets after, also %d ms later",
    async (laterMs) => {
      using mesh = await testMesh();
      const list = new Revocations();
      const trust = new Trust(mesh.ca.trust(NOW), list);
      const before = await nodeOf(mesh.ca, "worker", "gpu1", NOW);
      const bystander = await nodeOf(mesh.ca, "worker", "gpu2", NOW);
      list.revokeName("gpu1", NOW);
      const after = await nodeOf(mesh.ca, "worker", "gpu1", list.issueTime("gpu1", NOW + laterMs));
      const refusal = refusalOf("AUTHENTICATION", () => verifyCertificate(before.certificate, trust, NOW + HOUR));
      expect(refusal).toContain("was revoked");
      for (const node of [after, bystander]) {
        expect(verifyCertificate(node.certificate, trust, NOW + laterMs).name).toBe(node.name);
      }
    },
  );

  it("revokes a new certificate again, and stays at the later time when the clock goes back", async () => {
    const list = new Revocations();
    list.revokeName("gpu1", NOW + HOUR);
    const later = list.issueTime("gpu1", NOW);
    list.revokeName("gpu1", NOW);
    expect(list.issueTime("gpu1", NOW)).toBe(later);
    list.revokeName("gpu1", later);
    expect(list.isRevoked(A, "gpu1", later - DAY)).toBe(true);
  });

  it("grows its version with every change, beyond that of a list that was lost", () => {
    const list = new Revocations();
    const versions = [NOW, NOW, NOW - HOUR, NOW + HOUR].map((at) => {
      list.revokeName("a", at);
      return list.version;
    });
    expect(versions).toEqual([NOW, NOW + 1, NOW + 2, NOW + HOUR]);
  });

  it("X37 is the same after a restart, in a file of mode 0600", () => {
    using place = folder();
    const path = place.at("revocations.json");
    const list = new Revocations(path);
    expect(list.toData()).toEqual({ version: 0, serials: [], names: [] });
    list.revokeName("gpu1", NOW);
    list.revokeSerial(A, { nowMs: NOW, notAfter: NOW + DAY });
    expect(new Revocations(path).toData()).toEqual(list.toData());
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(new Revocations(path).isRevoked(A, "x", NOW)).toBe(true);
  });

  it("does not count what it could not write", () => {
    const place = folder();
    const list = new Revocations(place.at("file"));
    place[Symbol.dispose]();
    expect(refusalOf("UNREACHABLE", () => list.revokeName("gpu1", NOW))).toContain(`cannot write ${place.at("file")}`);
    expect(list.version).toBe(0);
    expect(list.isRevoked(A, "gpu1", NOW - DAY)).toBe(false);
  });

  it("forgets what has expired by itself, and nothing before", () => {
    const list = new Revocations();
    list.revokeSerial(A, { nowMs: NOW, notAfter: NOW + DAY });
    list.revokeName("gpu1", NOW);
    list.revokeSerial(B, { nowMs: NOW + DAY, notAfter: NOW + 9 * YEAR });
    expect(list.isRevoked(A, "", NOW)).toBe(true);
    list.revokeSerial(B, { nowMs: NOW + 3 * DAY, notAfter: NOW + 9 * YEAR });
    expect(list.isRevoked(A, "", NOW)).toBe(false);
    list.revokeSerial(B, { nowMs: NOW + 366 * DAY, notAfter: NOW + 9 * YEAR });
    expect(list.isRevoked("", "gpu1", NOW - DAY)).toBe(true);
    list.revokeSerial(B, { nowMs: NOW + 369 * DAY, notAfter: NOW + 9 * YEAR });
    expect(list.isRevoked("", "gpu1", NOW - DAY)).toBe(false);
  });

  it("holds at most 1,000, and says to replace the CA", () => {
    const list = new Revocations();
    for (let n = 0; n < 1000; n++) list.revokeName(`n${n}`, NOW);
    expect(refusalOf("USAGE", () => list.revokeName("one-more", NOW))).toContain("mesh rotate");
    list.revokeName("n0", NOW + HOUR);
    expect(checkRevocations(list.toData()).names).toHaveLength(1000);
  });

  it.each(["{", "[]", '{"version": 1, "serials": [{"serial": 1}], "names": []}'])("refuses a file of %j", (text) => {
    using place = folder();
    writeFileSync(place.at("file"), text, { mode: 0o600 });
    expect(refusalOf("AUTHENTICATION", () => new Revocations(place.at("file")))).toContain("put it back from a backup");
  });
});

describe("Revocations.accept", () => {
  it("takes newer lists over, as they come from the wire, and no older ones", () => {
    const coordinator = new Revocations();
    coordinator.revokeName("gpu1", NOW);
    const codec = new Codec();
    const send = () => checkRevocations(codec.decodeControl(codec.encode(coordinator.toData())));
    const first = send();
    coordinator.revokeSerial(A, { nowMs: NOW, notAfter: NOW + DAY });
    const second = send();
    const node = new Revocations();
    expect(node.accept(second)).toBe(true);
    expect(node.accept(first)).toBe(false);
    expect(node.accept(second)).toBe(false);
    expect(node.toData()).toEqual(coordinator.toData());
    expect(node.isRevoked(A, "", NOW)).toBe(true);
  });
});

describe("checkRevocations", () => {
  const good: RevocationData = {
    version: 1,
    serials: [{ serial: A, until: 1 }],
    names: [{ name: "a", before: 1, until: 2 }],
  };

  it.each([
    ["nothing", undefined],
    ["null", null],
    ["a version that is none", { ...good, version: "1" }],
    ["a version below 0", { ...good, version: -1 }],
    ["a version that is not whole", { ...good, version: 1.5 }],
    ["no serials", { version: 1, names: [] }],
    ["a serial as a list", { ...good, serials: [{ serial: [A], until: 1 }] }],
    ["no time", { ...good, serials: [{ serial: A }] }],
    ["null for a serial", { ...good, serials: [null] }],
    ["a name that is none", { ...good, names: [{ name: "a b", before: 1, until: 1 }] }],
    ["a time that is none", { ...good, names: [{ name: "a", before: Number.NaN, until: 1 }] }],
    ["too many", { ...good, names: Array(1001).fill(good.names[0]) }],
  ])("refuses %s", (_, value) => {
    expect(refusalOf("PROTOCOL", () => checkRevocations(value))).toContain("a list of revocations");
  });

  it("takes any value for a list or refuses it as PROTOCOL, and keeps what it knows alone", () => {
    expect(checkRevocations({ ...good, more: 1, serials: [{ serial: A, until: 1, more: 1 }] })).toEqual(good);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.anything(),
          fc.record({ version: fc.nat(), serials: fc.array(fc.anything()), names: fc.array(fc.anything()) }),
        ),
        (value) => {
          try {
            checkRevocations(value);
          } catch (error) {
            expect(isMeshError(error, "PROTOCOL")).toBe(true);
          }
        },
      ),
    );
  });
});
