// known_hosts: which keys are known for a host (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). Reads and judges, touches no file.
import { createHash, createHmac } from "node:crypto";

/** A line of a known_hosts file that is about a host. */
export interface KnownKey {
  marker?: "revoked" | "cert-authority";
  /** "ssh-ed25519" */
  type: string;
  /** The public key as it goes over the wire. */
  key: Buffer;
  file: string;
  /** Counted from 1. */
  line: number;
  /** It names the host without its port, which is not 22: a key found there is good, another one there means nothing. */
  isWithoutPort: boolean;
}

export type Verdict =
  | { kind: "known" }
  | { kind: "unknown" }
  /** Other keys are known: `entries`, the one of the same type first. */
  | { kind: "changed"; entries: KnownKey[] }
  | { kind: "revoked"; entry: KnownKey };

/** How a host is named in known_hosts: "host", or "[host]:2222" for another port than 22. */
export function knownName(host: string, port: number): string {
  return port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`;
}

/** The lines of the files' texts that are about the host, in order. Lines that are none are passed over, as ssh does. */
export function knownKeys(files: { path: string; text: string }[], host: string, port: number): KnownKey[] {
  const names = [...new Set([knownName(host, port), host.toLowerCase()])];
  const found: KnownKey[] = [];
  for (const { path, text } of files) {
    for (const [index, line] of text.split("\n").entries()) {
      const entry = parseLine(line);
      const which = entry ? names.findIndex((name) => matches(entry.hosts, name)) : -1;
      if (!entry || which < 0) continue;
      const { hosts: _, ...key } = entry;
      found.push({ ...key, file: path, line: index + 1, isWithoutPort: which > 0 });
    }
  }
  return found;
}

/** What the known keys say about the key that the host shows. */
export function judge(known: KnownKey[], key: Buffer): Verdict {
  const revoked = known.find((entry) => entry.marker === "revoked" && entry.key.equals(key));
  if (revoked) return { kind: "revoked", entry: revoked };
  const plain = known.filter((entry) => entry.marker === undefined);
  if (plain.some((entry) => entry.key.equals(key))) return { kind: "known" };
  const others = plain.filter((entry) => !entry.isWithoutPort);
  if (others.length === 0) return { kind: "unknown" };
  const type = keyType(key);
  return { kind: "changed", entries: others.sort((a, b) => Number(b.type === type) - Number(a.type === type)) };
}

/** Says that the host is known by an authority's signature alone, which takes certificates to check. */
export function needsCertificate(known: KnownKey[]): boolean {
  return known.some(({ marker }) => marker === "cert-authority") && !known.some(({ marker }) => marker === undefined);
}

/** The signature algorithms in the order to offer them: those of known keys first, so that the host shows one of these. */
export function preferredAlgorithms(known: KnownKey[], supported: readonly string[]): string[] {
  const types = new Set(known.filter(({ marker }) => marker === undefined).map(({ type }) => type));
  const isKnown = (algorithm: string) => types.has(algorithm.startsWith("rsa-sha2-") ? "ssh-rsa" : algorithm);
  return [...supported.filter(isKnown), ...supported.filter((algorithm) => !isKnown(algorithm))];
}

/** A line for known_hosts; `salt` (20 random bytes) hides the name, as HashKnownHosts wants it. */
export function knownHostsLine(name: string, key: Buffer, salt?: Buffer): string {
  const host = salt ? `|1|${salt.toString("base64")}|${hashName(name, salt).toString("base64")}` : name;
  return `${host} ${keyType(key)} ${key.toString("base64")}\n`;
}

/** As ssh shows it: "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU". */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** The type a public key names itself: "ssh-ed25519". */
export function keyType(key: Buffer): string {
  const length = key.length < 4 ? 0 : key.readUInt32BE(0);
  return key.toString("latin1", 4, 4 + Math.min(length, 64));
}

/** For people: "ED25519". */
export function keyTypeName(type: string): string {
  if (type.startsWith("ecdsa-")) return "ECDSA";
  return type
    .replace(/^ssh-|^sk-ssh-/, "")
    .replace(/@.*$/, "")
    .toUpperCase();
}

interface Line {
  hosts: string;
  marker?: "revoked" | "cert-authority";
  type: string;
  key: Buffer;
}

function parseLine(line: string): Line | undefined {
  const words = line.trim().split(/[ \t]+/);
  if (words[0]!.startsWith("#")) return undefined;
  const mark = words[0]!.startsWith("@") ? words.shift()!.slice(1) : undefined;
  const [hosts, type, base64] = words;
  if (!hosts || !type || !base64) return undefined;
  if (mark !== undefined && mark !== "revoked" && mark !== "cert-authority") return undefined;
  const key = Buffer.from(base64, "base64");
  // A key that does not say its own type is a cut or garbled line.
  if (keyType(key) !== type) return undefined;
  return { hosts, type, key, ...(mark && { marker: mark }) };
}

function matches(hosts: string, name: string): boolean {
  if (hosts.startsWith("|")) return matchesHash(hosts, name);
  let isMatch = false;
  for (const pattern of hosts.toLowerCase().split(",")) {
    const isNegated = pattern.startsWith("!");
    if (!matchesGlob(isNegated ? pattern.slice(1) : pattern, name)) continue;
    if (isNegated) return false;
    isMatch = true;
  }
  return isMatch;
}

/** "*" is any text, "?" one character, all else itself: walked without going back further than the last "*". */
function matchesGlob(pattern: string, name: string): boolean {
  let at = 0;
  let star = -1;
  let resume = 0;
  for (let i = 0; i < name.length; ) {
    if (pattern[at] === "*") {
      star = at++;
      resume = i;
    } else if (at < pattern.length && (pattern[at] === "?" || pattern[at] === name[i])) {
      at++;
      i++;
    } else if (star >= 0) {
      at = star + 1;
      i = ++resume;
    } else return false;
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}

function matchesHash(hosts: string, name: string): boolean {
  const [, version, salt, hash] = hosts.split("|");
  if (version !== "1" || !salt || !hash) return false;
  return hashName(name, Buffer.from(salt, "base64")).equals(Buffer.from(hash, "base64"));
}

function hashName(name: string, salt: Buffer): Buffer {
  return createHmac("sha1", salt).update(name).digest();
}
