// The keys to offer to a host, in ssh's own order: those of the agent that its settings name, the agent's others, then files.
import { existsSync } from "node:fs";
import type { ParsedKey } from "ssh2";
import { type AgentKey, listAgentKeys } from "./agent.ts";
import { foreignWords } from "./foreign-words.ts";
import { type KeyFile, type ParseKey, publicLine, readKeyFile } from "./key-files.ts";
import { keyType } from "./known-hosts.ts";
import type { SshSettings } from "./settings.ts";

export type Identity = { label: string; publicKey: ParsedKey } & ({ from: "agent" } | { from: "file"; file: KeyFile });

export interface Identities {
  offered: Identity[];
  /** Encrypted files whose public half nobody knows: to be unlocked before they can be offered. */
  sealed: KeyFile[];
  agentSocket: string | undefined;
  /** What will not be offered and why, for people. */
  left: string[];
  /** Keys that only the system's ssh can use: "a security key (~/.ssh/id_ed25519_sk)". */
  needsSystem: string[];
}

export async function findIdentities(settings: SshSettings, parse: ParseKey): Promise<Identities> {
  const [read, agent] = await Promise.all([
    Promise.all(settings.identityFiles.map((path) => readKeyFile(path, parse))),
    readAgent(settings.identityAgent),
  ]);
  const files = read.filter((file) => file !== undefined);
  const inAgent = agentIdentities(agent.keys, parse);
  const isNamed = ({ publicKey }: Identity) => files.some((file) => file.publicKey && same(file.publicKey, publicKey));
  const others = settings.identitiesOnly ? [] : inAgent.filter((identity) => !isNamed(identity));
  const named = inAgent.filter(isNamed);
  const fromFiles = files.filter(
    (file) => file.isPrivate && file.publicKey && !named.some((key) => same(key.publicKey, file.publicKey!)),
  );
  return {
    offered: [...named, ...others, ...fromFiles.map(fileIdentity)],
    sealed: files.filter((file) => file.isPrivate && !file.publicKey && !file.fault && !file.needsSystem),
    agentSocket: settings.identityAgent,
    left: [...agent.left, ...files.filter(({ fault }) => fault).map(({ path, fault }) => `${path}: ${fault}`)],
    needsSystem: [
      ...files.filter(({ needsSystem }) => needsSystem).map(({ path, needsSystem }) => `${needsSystem} (${path})`),
      ...files
        .filter(({ path }) => existsSync(`${path}-cert.pub`))
        .map(({ path }) => `a certificate (${path}-cert.pub)`),
      ...agent.keys
        .filter(({ blob }) => isForSystem(keyType(blob)))
        .map(({ comment }) => `a key of the agent (${comment})`),
    ],
  };
}

function agentIdentities(keys: AgentKey[], parse: ParseKey): Identity[] {
  return keys
    .filter(({ blob }) => !isForSystem(keyType(blob)))
    .flatMap(({ blob, comment }) => {
      const publicKey = parse(publicLine(blob));
      return publicKey instanceof Error ? [] : [{ from: "agent" as const, label: `agent: ${comment}`, publicKey }];
    });
}

/** Security keys and certificates. */
function isForSystem(type: string): boolean {
  return type.startsWith("sk-") || type.includes("-cert-v0");
}

function fileIdentity(file: KeyFile): Identity {
  return { from: "file", label: file.path, publicKey: file.publicKey!, file };
}

function same(a: ParsedKey, b: ParsedKey): boolean {
  return a.getPublicSSH().equals(b.getPublicSSH());
}

async function readAgent(socket: string | undefined): Promise<{ keys: AgentKey[]; left: string[] }> {
  if (!socket) return { keys: [], left: ["no agent (SSH_AUTH_SOCK is not set)"] };
  try {
    const listed = await listAgentKeys(socket);
    const keys = listed.map(({ blob, comment }) => ({ blob, comment: foreignWords(comment) }));
    return { keys, left: keys.length === 0 ? ["agent: it holds no key"] : [] };
  } catch (error) {
    return { keys: [], left: [`agent at ${socket}: ${(error as Error).message}`] };
  }
}
