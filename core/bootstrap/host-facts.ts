// What the probe found on a host, and how its answer is read.
import { MeshError } from "../errors.ts";
import type { Platform } from "../provider.ts";

/** A folder that may hold the binary, whether it is there or not. */
export interface CacheFolder {
  path: string;
  /** Undefined where df does not tell. */
  freeBytes?: number;
  /** Why it will not do. */
  problem?: { kind: "unwritable" | "noexec" | "untrusted"; words: string };
  /** Binaries there, by SHA-256 in hex. "doubtful": its content must be looked at before it is run. */
  binaries: Map<string, "whole" | "doubtful">;
}

export interface HostFacts {
  platform: Platform;
  /** Of the host's own words: "Linux x86_64, glibc 2.36". */
  system: string;
  /** That of glibc: "2.36". */
  libcVersion?: string;
  /** Of musl only: without libstdc++ the binary does not start. */
  lacksLibstdcxx: boolean;
  /** Paths of the loaders of programs that are there; of Linux only. */
  loaders: Set<string>;
  cores?: number;
  memoryBytes?: number;
  availableBytes?: number;
  /** Its clock, minus this machine's: as much as is certain, for it tells seconds, and at some time while it was asked. */
  clockAheadMs?: number;
  /** What a login there has started is ended with the last login: systemd's KillUserProcesses, and the user does not linger. */
  endsWithLogin?: true;
  user: string;
  uid: number;
  home: string;
  /** In the order in which they are to be tried. */
  folders: CacheFolder[];
  tools: Set<string>;
}

type Answers = [word: string, rest: string][];

/** The probe's lines, and when it was asked and had answered, by this machine's clock. */
export interface HostAnswers {
  answers: Answers;
  askedMs: number;
  answeredMs: number;
}

/** Reads the probe's lines. Throws UNREACHABLE, with `label` in front, for a system mesh has no binary for. */
export function hostFacts({ answers, ...times }: HostAnswers, label: string): HostFacts {
  const facts = new Map(answers);
  const libc = facts.get("libc")?.split(" ") ?? [];
  const seconds = number(facts.get("time"));
  return {
    platform: platformOf(facts, libc[0], label),
    system: systemWords(facts),
    ...(libc[0] === "glibc" && libc[1] && { libcVersion: libc[1] }),
    lacksLibstdcxx: libc[0] === "musl" && !facts.has("libstdc++"),
    loaders: all(answers, "loader"),
    ...defined("cores", number(facts.get("cores"))),
    ...defined("memoryBytes", bytes(facts.get("memory"))),
    ...defined("availableBytes", bytes(facts.get("available"))),
    ...defined("clockAheadMs", seconds && clockAhead(seconds, times)),
    ...(facts.has("ends-with-login") && { endsWithLogin: true }),
    user: facts.get("user") ?? "",
    uid: number(facts.get("uid")) ?? -1,
    home: facts.get("home") ?? "",
    folders: foldersIn(answers),
    tools: all(answers, "tool"),
  };
}

function all(answers: Answers, wanted: string): Set<string> {
  return new Set(answers.filter(([word]) => word === wanted).map(([, rest]) => rest));
}

/** The least difference that explains what it said. */
function clockAhead(seconds: number, { askedMs, answeredMs }: Omit<HostAnswers, "answers">): number {
  const least = seconds * 1000 - answeredMs;
  const most = (seconds + 1) * 1000 - askedMs;
  return Math.round(least > 0 ? least : Math.min(0, most));
}

function systemWords(facts: ReadonlyMap<string, string>): string {
  const libc = facts.get("libc");
  return `${facts.get("system")} ${facts.get("machine")}${libc ? `, ${libc}` : ""}`;
}

const ARCHITECTURES: Record<string, Platform["arch"]> = {
  x86_64: "x64",
  amd64: "x64",
  aarch64: "arm64",
  arm64: "arm64",
};

function platformOf(facts: ReadonlyMap<string, string>, libc: string | undefined, label: string): Platform {
  const system = facts.get("system");
  if (!system) {
    const advice = "install coreutils (or busybox) there, or put them into the PATH of commands run over this login";
    throw new MeshError("UNREACHABLE", `${label} has no \`uname\`, so what binary it needs is not known: ${advice}`);
  }
  const arch = ARCHITECTURES[facts.get("machine") ?? ""];
  const has64Bits = facts.get("bits") !== "32";
  if (!arch || !has64Bits || (system !== "Linux" && system !== "Darwin")) {
    const what = `${systemWords(facts)}${has64Bits ? "" : " with a user land of 32 bits"}`;
    const advice = "mesh runs on Linux and macOS on x64 and arm64: leave this host out";
    throw new MeshError("UNREACHABLE", `${label} is ${what}, for which there is no mesh: ${advice}`);
  }
  const isBaseline = arch === "x64" && !facts.has("avx2");
  const common = { arch, ...(isBaseline && { isBaseline }) };
  if (system === "Darwin") return { os: "darwin", ...common };
  return { os: "linux", ...common, libc: libc === "musl" ? "musl" : "glibc" };
}

function foldersIn(answers: Answers): CacheFolder[] {
  const folders = new Map<string, CacheFolder>();
  for (const [word, rest] of answers) {
    const { first, more } = split(rest);
    const folder = folders.get(first);
    if (word === "folder") folders.set(first, { path: more, binaries: new Map() });
    else if (!folder) continue;
    else if (word === "free") Object.assign(folder, defined("freeBytes", bytes(`${more}k`)));
    else if (word === "bad") folder.problem = problemIn(more);
    else if (word === "binary") readBinary(folder, more);
  }
  return [...folders.values()];
}

function problemIn(text: string): NonNullable<CacheFolder["problem"]> {
  const { first, more } = split(text);
  const kind = first === "noexec" || first === "untrusted" ? first : "unwritable";
  return { kind, words: more || "no file can be made there" };
}

function readBinary(folder: CacheFolder, text: string): void {
  const { first: state, more: sha256 } = split(text);
  if (/^[0-9a-f]{64}$/.test(sha256)) folder.binaries.set(sha256, state === "whole" ? "whole" : "doubtful");
}

function split(text: string): { first: string; more: string } {
  const at = text.indexOf(" ");
  return at < 0 ? { first: text, more: "" } : { first: text.slice(0, at), more: text.slice(at + 1) };
}

function number(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** "1024" or "1k". */
function bytes(text: string | undefined): number | undefined {
  const [, digits, unit] = /^(\d{1,15})(k?)$/.exec(text ?? "") ?? [];
  return digits === undefined ? undefined : Number(digits) * (unit ? 1024 : 1);
}

function defined<Key extends string>(key: Key, value: number | undefined): { [K in Key]?: number } {
  return (value === undefined ? {} : { [key]: value }) as { [K in Key]?: number };
}
