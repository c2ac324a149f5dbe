import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isMeshError } from "../../core/errors.ts";
import { type JoinRequest, joinRequest } from "../../core/identity/join.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import { JOINING_ROLES, type Role } from "../../core/identity/names.ts";
import { PIN_BYTES } from "../../core/identity/pin.ts";
import { formatToken, newToken, parseToken } from "../../core/identity/token.ts";
import { type JoinRefused, TokenStore } from "../../core/identity/token-store.ts";
import { DAY, type Folder, folder, HOUR, NOW, refusalOf } from "./support.ts";

const MINUTE = 60_000;
const MESH = { meshId: "0123456789abcdef", pin: new Uint8Array(PIN_BYTES).fill(7) };

describe("parseToken", () => {
  const text = formatToken(newToken(MESH.meshId, MESH.pin));

  it("reads what formatToken wrote: one line of 106 characters", () => {
    const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
    const meshId = bytes(8).map((id) => Buffer.from(id).toString("hex"));
    fc.assert(
      fc.property(fc.record({ meshId, pin: bytes(PIN_BYTES), id: bytes(8), secret: bytes(32) }), (token) => {
        const line = formatToken(token);
        expect(line).toMatch(/^mesh1\.[A-Za-z0-9_-]{100}$/);
        const read = parseToken(` ${line}\r\n`);
        expect({ ...read, pin: [...read.pin], id: [...read.id], secret: [...read.secret] }).toEqual({
          ...token,
          pin: [...token.pin],
          id: [...token.id],
          secret: [...token.secret],
        });
      }),
    );
  });

  it.each([
    ["nothing", "", "is empty"],
    ["white space", " \n", "is empty"],
    ["other text", "hello", 'does not begin with "mesh1."'],
    ["the rest alone", text.slice(6), 'does not begin with "mesh1."'],
    ["a part", text.slice(0, 90), "has 90 characters, not 106"],
    ["two", text + text, "has 212 characters, not 106"],
    ["another alphabet", `mesh1.${"+".repeat(100)}`, "holds characters no token has"],
    ["a line end inside", `${text.slice(0, 50)}\n${text.slice(51)}`, "holds characters no token has"],
    ["a later version", `mesh2.${text.slice(6)}`, "use the same build"],
  ])("says what is wrong with %s, and never quotes it", (_, given, words) => {
    const message = refusalOf("USAGE", () => parseToken(given));
    expect(message).toContain(words);
    expect(message).not.toContain(text.slice(60, 90));
  });

  it("finds every single character that was mistyped", () => {
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (let at = 6; at < text.length; at++) {
      const other = alphabet[(alphabet.indexOf(text[at]!) + 1) % 64]!;
      const mistyped = text.slice(0, at) + other + text.slice(at + 1);
      expect(refusalOf("USAGE", () => parseToken(mistyped))).toContain("was changed on the way");
    }
  });

  it("reads any text as a token or refuses it as USAGE", () => {
    const almost = fc.string({ unit: fc.constantFrom(..."Aa0-_.=\n "), maxLength: 120 }).map((rest) => `mesh1.${rest}`);
    fc.assert(
      fc.property(fc.oneof(fc.string({ maxLength: 300 }), almost), (given) => {
        try {
          parseToken(given);
        } catch (error) {
          expect(isMeshError(error, "USAGE")).toBe(true);
        }
      }),
    );
  });
});

interface TestStore extends Disposable {
  place: Folder;
  audit: JoinRefused[];
  store: TokenStore;
  /** The same store after a restart. */
  again(): TokenStore;
}

function testStore(): TestStore {
  const place = folder();
  const audit: JoinRefused[] = [];
  const again = () =>
    new TokenStore({ path: place.at("tokens.json"), ca: MESH, audit: (record) => audit.push(record) });
  return { place, audit, again, store: again(), [Symbol.dispose]: () => place[Symbol.dispose]() };
}

const KEY = createKeyPair().publicKey;

/** What somebody with that token sends. */
function request(text: string, role: Role = "worker", name = "gpu1", publicKey = KEY): JoinRequest {
  return joinRequest(parseToken(text), role, name, publicKey);
}

describe("TokenStore.redeem", () => {
  it("F17 accepts a token once, of a store that was opened again too", () => {
    using test = testStore();
    const text = test.store.create({ role: "worker" }, NOW);
    test.again().redeem(request(text), NOW + 59 * MINUTE);
    expect(test.audit).toEqual([]);
  });

  it.each(JOINING_ROLES)("F17 accepts one for a %s", (role) => {
    using test = testStore();
    test.store.redeem(request(test.store.create({ role, name: "n" }, NOW), role, "n"), NOW);
    expect(test.audit).toEqual([]);
  });

  /** Redeems what must be refused, and checks the one audit record. */
  function refused(test: TestStore, sent: JoinRequest, at: number, reason: JoinRefused["reason"]): string {
    test.audit.length = 0;
    const words = refusalOf("AUTHENTICATION", () => test.again().redeem(sent, at));
    expect(test.audit).toEqual([{ event: "join-refused", role: sent.role, name: sent.name, reason }]);
    expect(words).toContain(`${sent.name} may not join: its token `);
    expect(words).toContain(`mesh token --role ${sent.role}`);
    return words;
  }

  it("X24 refuses one that was used: by another node, by another key, and by the same one later", () => {
    using test = testStore();
    const text = test.store.create({ role: "worker" }, NOW);
    test.store.redeem(request(text), NOW);
    expect(refused(test, request(text, "worker", "gpu2"), NOW, "used")).toContain("was used before");
    refused(test, request(text, "worker", "gpu1", createKeyPair().publicKey), NOW, "used");
    refused(test, request(text), NOW + MINUTE, "used");
  });

  it("gives the same node the same answer for a minute, because the first may have been lost", () => {
    using test = testStore();
    const text = test.store.create({ role: "worker" }, NOW);
    test.store.redeem(request(text), NOW);
    test.again().redeem(request(text), NOW + MINUTE - 1);
    refused(test, request(text), NOW + MINUTE, "used"); // counted from the first time
  });

  it("gives it also when the token expires meanwhile", () => {
    using test = testStore();
    const text = test.store.create({ role: "worker" }, NOW);
    test.store.redeem(request(text), NOW + HOUR - 1);
    test.store.redeem(request(text), NOW + HOUR);
    expect(test.audit).toEqual([]);
  });

  it("X24 refuses one that expired, and forgets it a day later", () => {
    using test = testStore();
    const text = test.store.create({ role: "worker" }, NOW);
    const words = refused(test, request(text), NOW + HOUR, "expired");
    expect(words).toContain("expired at 2026-11-24T13:00:00Z by the coordinator's clock");
    test.again().create({ role: "worker" }, NOW + HOUR + DAY);
    refused(test, request(text), NOW + HOUR + DAY, "unknown");
  });

  it("X24 refuses one for another role, and leaves it to whom it is for", () => {
    using test = testStore();
    const text = test.store.create({ role: "worker" }, NOW);
    expect(refused(test, request(text, "head"), NOW, "other role")).toContain("is for a worker, not for a head");
    test.again().redeem(request(text), NOW);
  });

  it("X24 refuses one for another name, and leaves it to whom it is for", () => {
    using test = testStore();
    const text = test.store.create({ role: "worker", name: "gpu1" }, NOW);
    expect(refused(test, request(text, "worker", "gpu2"), NOW, "other name")).toContain("is for the node gpu1");
    test.again().redeem(request(text), NOW);
  });

  it("X24 refuses one of another mesh", () => {
    using test = testStore();
    const foreign = request(formatToken(newToken("fedcba9876543210", MESH.pin)));
    expect(refused(test, foreign, NOW, "other mesh")).toContain("is for another mesh");
  });

  it("X24 tells who does not know the secret nothing of the token", () => {
    using test = testStore();
    const text = test.store.create({ role: "worker", name: "gpu1", ttlMs: MINUTE }, NOW);
    const guessed = { ...request(text, "head", "gpu2"), secret: new Uint8Array(32) };
    const words = refused(test, guessed, NOW + HOUR, "unknown");
    test.store.redeem(request(text), NOW);
    expect(refused(test, guessed, NOW + HOUR, "unknown")).toBe(words);
    const never = { ...guessed, tokenId: new Uint8Array(8) };
    expect(refused(test, never, NOW, "unknown")).toBe(words);
  });

  it("uses a token up only when that is on disk", () => {
    using test = testStore();
    const text = test.store.create({ role: "worker" }, NOW);
    test.place[Symbol.dispose]();
    refusalOf("UNREACHABLE", () => test.store.redeem(request(text), NOW));
    mkdirSync(test.place.path);
    test.store.redeem(request(text, "worker", "gpu2"), NOW);
    expect(test.audit).toEqual([]);
  });
});

describe("TokenStore.create", () => {
  it("X37 keeps no secret: only its hash is on disk, in a file of mode 0600", () => {
    using test = testStore();
    const text = test.store.create({ role: "worker" }, NOW);
    test.store.redeem(request(text), NOW);
    const { secret } = parseToken(text);
    const path = test.place.at("tokens.json");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const stored = readFileSync(path);
    expect(stored.includes(Buffer.from(secret))).toBe(false);
    for (const encoding of ["hex", "base64", "base64url"] as const) {
      expect(stored.toString().includes(Buffer.from(secret).toString(encoding).slice(0, 20))).toBe(false);
    }
    expect(stored.toString().includes(text.slice(60, 90))).toBe(false);
  });

  it("makes a token that differs each time, for the CA as it is then", () => {
    using place = folder();
    const ca = { meshId: MESH.meshId, pin: MESH.pin };
    const store = new TokenStore({ path: place.at("tokens.json"), ca, audit: () => {} });
    const [a, b] = [store.create({ role: "worker" }, NOW), store.create({ role: "worker" }, NOW)].map(parseToken);
    expect(a!.secret).not.toEqual(b!.secret);
    expect(a!.id).not.toEqual(b!.id);
    ca.pin = new Uint8Array(PIN_BYTES).fill(9);
    expect([...parseToken(store.create({ role: "worker" }, NOW)).pin]).toEqual([...ca.pin]);
  });

  it.each([0, 999, -HOUR, 31 * DAY, Number.NaN])("refuses a time of %d ms", (ttlMs) => {
    using test = testStore();
    expect(refusalOf("USAGE", () => test.store.create({ role: "worker", ttlMs }, NOW))).toContain(
      "cannot be valid for",
    );
  });

  it("refuses the role of coordinator, and names that are none", () => {
    using test = testStore();
    expect(refusalOf("USAGE", () => test.store.create({ role: "coordinator" }, NOW))).toContain(
      "worker, head, rendezvous",
    );
    refusalOf("USAGE", () => test.store.create({ role: "worker", name: "a b" }, NOW));
  });

  it("keeps at most 1,000, and makes room of those that are over", () => {
    using test = testStore();
    const first = test.store.create({ role: "worker", ttlMs: MINUTE }, NOW);
    const path = test.place.at("tokens.json");
    const [stored] = JSON.parse(readFileSync(path, "utf8")).tokens;
    const many = Array.from({ length: 1000 }, (_, n) => ({ ...stored, id: n.toString(16).padStart(16, "0") }));
    writeFileSync(path, JSON.stringify({ tokens: many }));
    const full = test.again();
    expect(refusalOf("USAGE", () => full.create({ role: "worker" }, NOW))).toContain("1000 join tokens wait");
    const text = full.create({ role: "worker" }, NOW + MINUTE);
    expect(JSON.parse(readFileSync(path, "utf8")).tokens).toHaveLength(1);
    full.redeem(request(text), NOW + MINUTE);
    expect(first).not.toBe(text);
  });

  it.each(["{", "null", "{}", '{"tokens": [{}]}', '{"tokens": [null]}'])("refuses a file that holds %j", (text) => {
    using test = testStore();
    writeFileSync(test.place.at("tokens.json"), text, { mode: 0o600 });
    const words = refusalOf("AUTHENTICATION", () => test.again());
    expect(words).toContain(`${test.place.at("tokens.json")} is damaged: delete it`);
  });
});
