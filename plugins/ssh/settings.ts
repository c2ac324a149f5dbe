// The user's settings for one host, as `ssh -G` prints them: one "keyword value" a line, keywords in lower case, with
// includes, Match blocks and defaults already applied. Pure: what the machine knows comes in as `Place`.
import { MeshError } from "../../core/errors.ts";

/** How unknown host keys are met, as StrictHostKeyChecking has it; changed ones are refused in every case. */
export type KeyPolicy = "refuse" | "ask" | "accept-new";

export interface SshSettings {
  /** Where to connect to. */
  hostName: string;
  port: number;
  user: string;
  addressFamily?: 4 | 6;
  bindAddress?: string;
  /** The name its key is known by; default: hostName with the port. */
  hostKeyAlias?: string;
  userKnownHosts: string[];
  globalKnownHosts: string[];
  hashKnownHosts: boolean;
  keyPolicy: KeyPolicy;
  /** In order; files that may not exist. */
  identityFiles: string[];
  certificateFiles: string[];
  identitiesOnly: boolean;
  /** The agent's socket. */
  identityAgent?: string;
  allows: { publicKey: boolean; password: boolean; keyboard: boolean };
  /** Destinations to go through, in order. */
  proxyJump: string[];
  connectTimeoutMs?: number;
  keepAlive?: { intervalMs: number; count: number };
  /** What only the system's ssh can do, in words: "ProxyCommand". */
  needsSystem: string[];
  /** Ways to log in that only the system's ssh has, by their name in the protocol: worth trying when the others failed. */
  mayNeedSystem: { name: string; method: string }[];
}

/** What the values may refer to. */
export interface Place {
  /** As typed, %n. */
  host: string;
  home: string;
  /** The local user, %u, and their number, %i. */
  localUser: string;
  uid: number;
  localHost: string;
  env: Record<string, string | undefined>;
}

/** Reads what `ssh -G` printed. Throws CONFIG when it is not that. */
export function parseSettings(text: string, place: Place): SshSettings {
  const values = readLines(text);
  const one = (key: string) => values.get(key)?.[0];
  const is = (key: string) => isOn(one(key));
  const hostName = one("hostname");
  const user = one("user");
  if (!hostName || !user) throw new MeshError("CONFIG", `ssh -G ${place.host} told no host name and user`);
  const tokens = tokensOf(place, { hostName, user, port: one("port") ?? "22", alias: given(one("hostkeyalias")) });
  const path = (value: string) => expandPath(value, tokens, place);
  const paths = (key: string) => (values.get(key) ?? []).filter((value) => value !== "none").map(path);
  const lists = (key: string) =>
    splitPaths(one(key) ?? "none")
      .filter((value) => value !== "none")
      .map(path);
  const agent = agentOf(one("identityagent"), place, path);
  const alias = given(one("hostkeyalias"));
  const bind = given(one("bindaddress"));
  const family = { inet: 4, inet6: 6 }[one("addressfamily") ?? ""] as 4 | 6 | undefined;
  const timeout = Number(one("connecttimeout"));
  const keepAlive = Number(one("serveraliveinterval"));
  return {
    hostName,
    port: Number(one("port") ?? 22),
    user,
    ...(family && { addressFamily: family }),
    ...(bind && { bindAddress: bind }),
    ...(alias && { hostKeyAlias: alias }),
    userKnownHosts: lists("userknownhostsfile"),
    globalKnownHosts: lists("globalknownhostsfile"),
    hashKnownHosts: is("hashknownhosts"),
    keyPolicy: policyOf(one("stricthostkeychecking")),
    identityFiles: paths("identityfile"),
    certificateFiles: paths("certificatefile"),
    identitiesOnly: is("identitiesonly"),
    ...(agent && { identityAgent: agent }),
    allows: {
      publicKey: one("pubkeyauthentication") !== "no" && one("pubkeyauthentication") !== "false",
      password: isOn(one("passwordauthentication") ?? "yes"),
      keyboard: isOn(one("kbdinteractiveauthentication") ?? one("challengeresponseauthentication") ?? "yes"),
    },
    proxyJump:
      given(one("proxyjump"))
        ?.split(",")
        .map((hop) => expandTokens(hop, tokens)) ?? [],
    ...(timeout > 0 && { connectTimeoutMs: 1000 * timeout }),
    ...(keepAlive > 0 && {
      keepAlive: { intervalMs: 1000 * keepAlive, count: Number(one("serveralivecountmax") ?? 3) },
    }),
    needsSystem: needs(one),
    mayNeedSystem: [
      ...(is("gssapiauthentication") ? [{ name: "GSSAPI", method: "gssapi-with-mic" }] : []),
      ...(is("hostbasedauthentication") ? [{ name: "host-based login", method: "hostbased" }] : []),
    ],
  };
}

/** What `ssh -G` would print for a host nobody has settings for: where there is no `ssh`. */
export function defaultSettings(
  destination: { host: string; user?: string; port?: number },
  place: Place,
): SshSettings {
  const lines = [
    `hostname ${destination.host}`,
    `user ${destination.user ?? place.localUser}`,
    `port ${destination.port ?? 22}`,
    ...["rsa", "ecdsa", "ed25519"].map((type) => `identityfile ~/.ssh/id_${type}`),
    "userknownhostsfile ~/.ssh/known_hosts ~/.ssh/known_hosts2",
    "globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",
  ];
  return parseSettings(lines.join("\n"), place);
}

function readLines(text: string): Map<string, string[]> {
  const values = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const space = line.indexOf(" ");
    if (space < 0) continue;
    const key = line.slice(0, space).toLowerCase();
    values.set(key, [...(values.get(key) ?? []), line.slice(space + 1).trim()]);
  }
  return values;
}

/** Undefined for what ssh prints when nothing was said. */
function given(value: string | undefined): string | undefined {
  return value === undefined || value === "" || value === "none" ? undefined : value;
}

function isOn(value: string | undefined): boolean {
  return value === "yes" || value === "true";
}

/** ssh prints "true" and "false" for what its manual calls "yes" and "no". */
function policyOf(value: string | undefined): KeyPolicy {
  if (value === "yes" || value === "true") return "refuse";
  return value === "accept-new" || value === "no" || value === "off" || value === "false" ? "accept-new" : "ask";
}

function needs(one: (key: string) => string | undefined): string[] {
  const found: string[] = [];
  const add = (key: string, name: string) => given(one(key)) && found.push(name);
  add("proxycommand", "ProxyCommand");
  add("pkcs11provider", "PKCS11Provider");
  add("knownhostscommand", "KnownHostsCommand");
  add("revokedhostkeys", "RevokedHostKeys");
  add("bindinterface", "BindInterface");
  add("certificatefile", "CertificateFile");
  return found;
}

function agentOf(value: string | undefined, place: Place, path: (value: string) => string): string | undefined {
  if (value === "none") return undefined;
  if (value === undefined || value === "SSH_AUTH_SOCK") return place.env.SSH_AUTH_SOCK || undefined;
  const variable = /^\$([A-Za-z_]\w*)$/.exec(value)?.[1];
  return variable ? place.env[variable] || undefined : path(value);
}

/** `ssh -G` separates paths by spaces and quotes none, so a path with a space is told by what follows it. */
function splitPaths(value: string): string[] {
  return value.split(/ (?=[/~%$]|none$)/);
}

function tokensOf(
  place: Place,
  host: { hostName: string; user: string; port: string; alias: string | undefined },
): Record<string, string> {
  return {
    "%": "%",
    d: place.home,
    h: host.hostName,
    i: String(place.uid),
    k: host.alias ?? place.host,
    L: place.localHost.split(".")[0]!,
    l: place.localHost,
    n: place.host,
    p: host.port,
    r: host.user,
    u: place.localUser,
  };
}

function expandPath(value: string, tokens: Record<string, string>, place: Place): string {
  const full = value === "~" || value.startsWith("~/") ? place.home + value.slice(1) : value;
  return expandTokens(full, tokens).replace(/\$\{([^}]+)\}/g, (whole, name: string) => place.env[name] ?? whole);
}

function expandTokens(value: string, tokens: Record<string, string>): string {
  return value.replace(/%(.)/g, (whole, token: string) => tokens[token] ?? whole);
}
