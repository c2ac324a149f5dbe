// Whether the key that a host shows is the one we know it by, and what to say when it is not.
import { randomBytes } from "node:crypto";
import { appendFile, mkdir, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { MeshError } from "../../core/errors.ts";
import {
  fingerprint,
  judge,
  type KnownKey,
  keyType,
  keyTypeName,
  knownHostsLine,
  knownKeys,
  knownName,
  type Verdict,
} from "./known-hosts.ts";
import { RefusedHostKey } from "./refusal.ts";
import type { SshSettings } from "./settings.ts";

export interface HostKeys {
  /** As known_hosts has it. */
  name: string;
  known: KnownKey[];
}

/** What the user's and the machine's files know about a host. Files that cannot be read know nothing, as with ssh. */
export async function loadHostKeys(settings: SshSettings): Promise<HostKeys> {
  const paths = [...settings.userKnownHosts, ...settings.globalKnownHosts];
  const texts = await Promise.all(paths.map((path) => readFile(path, "utf8").catch(() => "")));
  const files = paths.map((path, index) => ({ path, text: texts[index]! }));
  const [host, port] = nameParts(settings);
  return { name: knownName(host, port), known: knownKeys(files, host, port) };
}

/** Adds the key to the user's first known_hosts, in one write, so that hosts may be added side by side. Throws STORAGE. */
export async function rememberHostKey(settings: SshSettings, key: Buffer): Promise<void> {
  const path = settings.userKnownHosts[0];
  if (path === undefined) return;
  const salt = settings.hashKnownHosts ? randomBytes(20) : undefined;
  const line = knownHostsLine(knownName(...nameParts(settings)), key, salt);
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const text = await readFile(path, "utf8").catch(() => "");
    const isCut = text !== "" && !text.endsWith("\n");
    await appendFile(path, isCut ? `\n${line}` : line, { mode: 0o600 });
  } catch (cause) {
    const why = (cause as Error).message;
    throw new MeshError(
      "STORAGE",
      `the host key cannot be added to ${path}: ${why}; make it writable, or name another UserKnownHostsFile`,
      { cause },
    );
  }
}

/** "the ED25519 key SHA256:…" */
export function describeKey(key: Buffer): string {
  return `the ${keyTypeName(keyType(key))} key ${fingerprint(key)}`;
}

export interface Shown {
  /** For people: "alice@10.0.0.5". */
  label: string;
  /** A command line of ssh that would reach it. */
  command: string;
  settings: SshSettings;
  keys: HostKeys;
  key: Buffer;
}

/** Why a key is not good enough to go on; undefined when it is known. Nothing was sent to the host yet. */
export function refuseHostKey(shown: Shown): { verdict: Verdict; error: RefusedHostKey } | undefined {
  const verdict = judge(shown.keys.known, shown.key);
  if (verdict.kind === "known") return undefined;
  const explain = { unknown: explainUnknown, changed: explainChanged, revoked: explainRevoked }[verdict.kind];
  return { verdict, error: new RefusedHostKey(...explain(shown, verdict as never)) };
}

/** What is wrong, and what to do. */
type Explained = [words: string, advice: string];

function explainUnknown({ label, command, settings, keys, key }: Shown): Explained {
  const file = `/etc/ssh/ssh_host_${keyTypeName(keyType(key)).toLowerCase()}_key.pub`;
  const check = `compare it with the host's own (there: ssh-keygen -lf ${file})`;
  const byHand = `put this line into ${settings.userKnownHosts[0]}: ${knownHostsLine(keys.name, key).trim()}`;
  const trust = settings.keyPolicy === "refuse" ? byHand : `run: ${command} true`;
  return [`${label} is not known: it shows ${describeKey(key)}`, `${check}, then ${trust} – or use --accept-new-keys`];
}

function explainChanged({ label, settings, keys, key }: Shown, { entries }: { entries: KnownKey[] }): Explained {
  const old = entries[0]!;
  const others = entries.length > 1 ? ` (and ${entries.length - 1} more)` : "";
  const isUsers = settings.userKnownHosts.includes(old.file);
  const remove = isUsers ? `ssh-keygen -R '${keys.name}' -f ${old.file}` : `take line ${old.line} out of ${old.file}`;
  return [
    `the host key of ${label} has changed: it shows ${describeKey(key)}, but ${old.file}:${old.line} knows ${describeKey(old.key)}${others}. ` +
      "Somebody may be listening in, or the host was set up anew. Nothing was sent to it",
    `if you know that the new key is right: ${remove}`,
  ];
}

function explainRevoked({ label, key }: Shown, { entry }: { entry: KnownKey }): Explained {
  return [
    `${label} shows ${describeKey(key)}, which ${entry.file}:${entry.line} revokes`,
    "give the host another key; this one is never trusted",
  ];
}

function nameParts(settings: SshSettings): [string, number] {
  // An alias is a name of its own, whatever the port.
  return settings.hostKeyAlias ? [settings.hostKeyAlias, 22] : [settings.hostName, settings.port];
}
