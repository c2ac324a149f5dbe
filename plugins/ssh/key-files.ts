// Private keys in files: read without a secret as far as that goes, and unlocked once for all hosts.
import { createPrivateKey } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import type { ParsedKey, utils } from "ssh2";
import type { Person } from "../../core/provider.ts";
import { keyType } from "./known-hosts.ts";

/** ssh2's, which is loaded late. */
export type ParseKey = typeof utils.parseKey;

export interface KeyFile {
  path: string;
  /** Undefined for an encrypted file of an older kind without a `.pub` beside it. */
  publicKey?: ParsedKey;
  /** The key itself, where no passphrase is needed for it. */
  privateKey?: ParsedKey;
  /** There is a private half: without one the key is of use only in the agent. */
  isPrivate: boolean;
  /** Only the system's ssh can use it: "a security key". */
  needsSystem?: string;
  /** Nothing can use it: why. */
  fault?: string;
}

/** What can be told of an identity file without asking anybody; undefined when there is none. */
export async function readKeyFile(path: string, parse: ParseKey): Promise<KeyFile | undefined> {
  const [text, beside] = await Promise.all([read(path), read(`${path}.pub`)]);
  if (text instanceof Error) return { path, isPrivate: true, fault: text.message };
  if (text === undefined) return typeof beside === "string" ? describePublic(path, beside, parse) : undefined;
  if (!text.includes("PRIVATE KEY")) return describePublic(path, text, parse);
  const fault = await openToOthers(path);
  if (fault) return { path, isPrivate: true, fault };
  const publicBlob = publicBlobOf(text);
  if (publicBlob && keyType(publicBlob).startsWith("sk-"))
    return { path, isPrivate: true, needsSystem: "a security key" };
  const key = parsePrivate(text, undefined, parse);
  if (key) return { path, isPrivate: true, publicKey: key, privateKey: key };
  const publicKey = publicBlob
    ? parsed(parse(publicLine(publicBlob)))
    : typeof beside === "string"
      ? parsed(parse(beside))
      : undefined;
  if (!isEncrypted(text)) return { path, isPrivate: true, needsSystem: "a key of a kind that mesh cannot read" };
  return { path, isPrivate: true, ...(publicKey && { publicKey }) };
}

/** Keys of this process that were unlocked; each passphrase is asked for once. */
export class KeyRing {
  readonly #keys = new Map<string, Promise<ParsedKey>>();

  /** The private key in an encrypted file. Rejects with a plain Error that says why not. */
  unlock(path: string, parse: ParseKey, person: Person | undefined): Promise<ParsedKey> {
    const key = this.#keys.get(path) ?? unlock(path, parse, person);
    this.#keys.set(path, key);
    return key;
  }
}

const PASSPHRASE_TRIES = 3;

async function unlock(path: string, parse: ParseKey, person: Person | undefined): Promise<ParsedKey> {
  if (!person) throw new Error(`it is encrypted and nobody can be asked: run ssh-add ${path}`);
  const text = await readFile(path, "utf8");
  for (let tries = 1; tries <= PASSPHRASE_TRIES; tries++) {
    const passphrase = await person.secret(`${tries > 1 ? "That is not it. " : ""}Passphrase of ${path}`);
    if (passphrase === undefined || passphrase === "") throw new Error("it is encrypted and no passphrase was given");
    const key = parsePrivate(text, passphrase, parse);
    if (key) return key;
  }
  throw new Error(`it is encrypted and ${PASSPHRASE_TRIES} passphrases were wrong`);
}

function describePublic(path: string, text: string, parse: ParseKey): KeyFile | undefined {
  const type = text.trim().split(/\s/)[0]!;
  if (type.startsWith("sk-")) return { path, isPrivate: false, needsSystem: "a security key" };
  const publicKey = parsed(parse(text));
  return publicKey && { path, isPrivate: false, publicKey };
}

function parsed(result: ReturnType<ParseKey> | ParsedKey[]): ParsedKey | undefined {
  const key = Array.isArray(result) ? result[0] : result;
  return key === undefined || key instanceof Error ? undefined : key;
}

/** ssh2 knows no PKCS #8, which node:crypto turns into what it knows. */
function parsePrivate(text: string, passphrase: string | undefined, parse: ParseKey): ParsedKey | undefined {
  if (!/BEGIN (ENCRYPTED )?PRIVATE KEY/.test(text)) return parsed(parse(text, passphrase));
  try {
    const key = createPrivateKey({ key: text, ...(passphrase !== undefined && { passphrase }) });
    const type = key.asymmetricKeyType === "rsa" ? "pkcs1" : "sec1";
    return parsed(parse(key.export({ type, format: "pem" }) as string));
  } catch {
    return undefined;
  }
}

/** ssh refuses such keys as well: others may have read them. */
async function openToOthers(path: string): Promise<string | undefined> {
  const { mode, uid } = await stat(path);
  const isOurs = uid === process.getuid?.();
  return isOurs && mode & 0o077 ? `others may read it: chmod 600 ${path}` : undefined;
}

function isEncrypted(text: string): boolean {
  return text.includes("ENCRYPTED") || text.includes("BEGIN OPENSSH PRIVATE KEY");
}

/** The public half, which OpenSSH's own format leaves in the clear (PROTOCOL.key of OpenSSH). */
function publicBlobOf(text: string): Buffer | undefined {
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([^-]+)-----END/.exec(text)?.[1];
  const bytes = Buffer.from(body ?? "", "base64");
  const magic = "openssh-key-v1\0";
  if (bytes.toString("latin1", 0, magic.length) !== magic) return undefined;
  let at = magic.length;
  const next = () => {
    const size = at + 4 <= bytes.length ? bytes.readUInt32BE(at) : 0;
    const part = bytes.subarray(at + 4, at + 4 + size);
    at += 4 + size;
    return part;
  };
  // cipher, key derivation, its options, the number of keys (always 1), the public key
  for (let skipped = 0; skipped < 3; skipped++) next();
  at += 4;
  const blob = next();
  return blob.length > 0 ? blob : undefined;
}

export function publicLine(blob: Buffer): string {
  return `${keyType(blob)} ${blob.toString("base64")}`;
}

/** Undefined when there is no such file; an Error when it cannot be read. */
async function read(path: string): Promise<string | undefined | Error> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR" ? undefined : new Error(message);
  }
}
