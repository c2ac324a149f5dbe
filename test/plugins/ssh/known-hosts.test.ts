// known_hosts in all its forms, beside what ssh-keygen -F finds.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  fingerprint,
  judge,
  keyType,
  keyTypeName,
  knownHostsLine,
  knownKeys,
  knownName,
  needsCertificate,
  preferredAlgorithms,
} from "../../../plugins/ssh/known-hosts.ts";

/** A public key with a body of our choice: what it signs with does not matter here. */
function keyOf(type: string, body: string): Buffer {
  const part = (text: string) => {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(Buffer.byteLength(text));
    return Buffer.concat([size, Buffer.from(text)]);
  };
  return Buffer.concat([part(type), part(body)]);
}

const ED = keyOf("ssh-ed25519", "one");
const OTHER_ED = keyOf("ssh-ed25519", "two");
const RSA = keyOf("ssh-rsa", "three");
const line = (hosts: string, key: Buffer) => `${hosts} ${keyType(key)} ${key.toString("base64")}`;
const known = (text: string, host = "a.example.com", port = 22) => knownKeys([{ path: "file", text }], host, port);

describe("knownKeys", () => {
  const SALT = Buffer.alloc(20, 7);
  const rows: [what: string, hosts: string, host: string, port: number, isFound: boolean][] = [
    ["a plain name", "a.example.com", "a.example.com", 22, true],
    ["another name", "b.example.com", "a.example.com", 22, false],
    ["a name within", "example.com", "a.example.com", 22, false],
    ["one of several", "x,a.example.com,10.0.0.1", "a.example.com", 22, true],
    ["upper case in the file", "A.Example.COM", "a.example.com", 22, true],
    ["upper case asked for", "a.example.com", "A.EXAMPLE.com", 22, true],
    ["a glob", "*.example.com", "a.example.com", 22, true],
    ["a glob elsewhere", "*.example.org", "a.example.com", 22, false],
    ["two stars", "*.exam*.com", "a.example.com", 22, true],
    ["a star that stands for nothing", "a.example.com*", "a.example.com", 22, true],
    ["question marks", "?.example.com", "a.example.com", 22, true],
    ["too few question marks", "?example.com", "a.example.com", 22, false],
    ["negated", "*.example.com,!a.example.com", "a.example.com", 22, false],
    ["negated first", "!a.example.com,*", "a.example.com", 22, false],
    ["another one negated", "*.example.com,!b.example.com", "a.example.com", 22, true],
    ["negation alone", "!b.example.com", "a.example.com", 22, false],
    ["with a port", "[a.example.com]:2222", "a.example.com", 2222, true],
    ["with another port", "[a.example.com]:2222", "a.example.com", 2223, false],
    ["with a port, asked for 22", "[a.example.com]:2222", "a.example.com", 22, false],
    ["a glob with a port", "[*.example.com]:2222", "a.example.com", 2222, true],
    ["without the port that is asked for", "a.example.com", "a.example.com", 2222, true],
    ["IPv6", "fe80::1", "fe80::1", 22, true],
    ["IPv6 with a port", "[fe80::1]:2222", "fe80::1", 2222, true],
    ["no pattern of regular expressions", "a.example.co[m]", "a.example.com", 22, false],
    ["a dot is a dot", "a.example.com", "axexample.com", 22, false],
  ];
  test.each(rows)("%s: %s for %s port %i: %s", (_, hosts, host, port, isFound) => {
    expect(known(line(hosts, ED), host, port).length).toBe(isFound ? 1 : 0);
  });

  test("hashed names, with and without a port", () => {
    const text = knownHostsLine("a.example.com", ED, SALT) + knownHostsLine("[a.example.com]:2222", RSA, SALT);
    expect(known(text).map(({ type }) => type)).toEqual(["ssh-ed25519"]);
    expect(known(text, "a.example.com", 2222).map(({ type }) => type)).toEqual(["ssh-ed25519", "ssh-rsa"]);
    expect(known(text, "b.example.com")).toEqual([]);
  });

  test("lines that are none are passed over, and the others keep their numbers", () => {
    const text = [
      "# a comment",
      "",
      "a.example.com",
      "a.example.com ssh-ed25519",
      "a.example.com ssh-ed25519 AAAA",
      `@unheard-of ${line("a.example.com", ED)}`,
      "|1|broken ssh-ed25519 AAAA",
      `  ${line("a.example.com", ED)}   a comment`,
      `a.example.com\tssh-rsa\t${RSA.toString("base64")}\r`,
    ].join("\n");
    expect(known(text).map((entry) => [entry.line, entry.type])).toEqual([
      [8, "ssh-ed25519"],
      [9, "ssh-rsa"],
    ]);
  });

  test("a long glob against a long name takes no time", () => {
    expect(known(line(`${"*a".repeat(500)}b`, ED), "a".repeat(5_000))).toEqual([]);
  });
});

describe("judge", () => {
  const rows: [what: string, lines: string[], key: Buffer, kind: string][] = [
    ["nothing known", [], ED, "unknown"],
    ["the key", [line("a.example.com", ED)], ED, "known"],
    ["one of two keys", [line("a.example.com", OTHER_ED), line("*.example.com", ED)], ED, "known"],
    ["another key", [line("a.example.com", OTHER_ED)], ED, "changed"],
    ["a key of another type only", [line("a.example.com", RSA)], ED, "changed"],
    ["revoked", [`@revoked ${line("*", ED)}`], ED, "revoked"],
    ["revoked, though known", [line("a.example.com", ED), `@revoked ${line("a.example.com", ED)}`], ED, "revoked"],
    ["another one revoked", [line("a.example.com", ED), `@revoked ${line("*", RSA)}`], ED, "known"],
    ["revoked elsewhere", [`@revoked ${line("b.example.com", ED)}`], ED, "unknown"],
    ["an authority is no key of the host", [`@cert-authority ${line("*", ED)}`], ED, "unknown"],
  ];
  test.each(rows)("%s", (_, lines, key, kind) => {
    expect(judge(known(lines.join("\n")), key).kind).toBe(kind);
  });

  test("names the old entry of the same type first", () => {
    const verdict = judge(known([line("a.example.com", RSA), line("a.example.com", OTHER_ED)].join("\n")), ED);
    expect(verdict).toMatchObject({ kind: "changed", entries: [{ line: 2 }, { line: 1 }] });
  });

  test("a key known without the port is good, another one there means nothing", () => {
    const at = (text: string) => judge(known(text, "a.example.com", 2222), ED).kind;
    expect(at(line("a.example.com", ED))).toBe("known");
    expect(at(line("a.example.com", OTHER_ED))).toBe("unknown");
    expect(at(line("[a.example.com]:2222", OTHER_ED))).toBe("changed");
  });
});

test("preferredAlgorithms puts the types of known keys first, RSA with both its signatures", () => {
  const all = ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"];
  expect(preferredAlgorithms([], all)).toEqual(all);
  expect(preferredAlgorithms(known(line("a.example.com", RSA)), all)).toEqual([
    "rsa-sha2-512",
    "rsa-sha2-256",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
  ]);
  expect(preferredAlgorithms(known(`@revoked ${line("a.example.com", RSA)}`), all)).toEqual(all);
});

test("needsCertificate: known by an authority alone", () => {
  expect(needsCertificate(known(`@cert-authority ${line("*.example.com", ED)}`))).toBe(true);
  expect(needsCertificate(known(`@cert-authority ${line("*", ED)}\n${line("a.example.com", RSA)}`))).toBe(false);
  expect(needsCertificate([])).toBe(false);
});

test("knownName and keyTypeName", () => {
  expect([knownName("Host", 22), knownName("Host", 2222), knownName("::1", 2222)]).toEqual([
    "host",
    "[host]:2222",
    "[::1]:2222",
  ]);
  expect(["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp384"].map(keyTypeName)).toEqual(["ED25519", "RSA", "ECDSA"]);
});

test.skipIf(!Bun.which("ssh-keygen"))(
  "ssh-keygen reads what knownHostsLine writes, and shows the same fingerprint",
  () => {
    const folder = mkdtempSync(join(tmpdir(), "mesh-known-"));
    try {
      const run = (...args: string[]) => spawnSync("ssh-keygen", args, { cwd: folder, encoding: "utf8" }).stdout;
      run("-q", "-t", "ed25519", "-N", "", "-f", "key");
      const key = Buffer.from(readFileSync(join(folder, "key.pub"), "utf8").split(" ")[1]!, "base64");
      writeFileSync(join(folder, "known"), knownHostsLine("[host]:2222", key, Buffer.alloc(20, 9)));
      expect(run("-F", "[host]:2222", "-f", "known")).toContain("found: line 1");
      expect(run("-F", "host", "-f", "known")).toBe("");
      expect(run("-lf", "key.pub")).toContain(fingerprint(key));
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
