// Puts the binary onto a host: into the first folder that will do, checked there before it is run, and not at all when it is
// there already.
import { MeshError } from "../errors.ts";
import type { Binary } from "../provider.ts";
import { digestVariables } from "./digests.ts";
import type { CacheFolder, HostFacts } from "./host-facts.ts";
import { lackingLibrary } from "./libraries.ts";
import { answersIn, quoted, remoteScript, wordsOf } from "./remote-script.ts";
import digest from "./scripts/digest.sh" with { type: "text" };
import verify from "./scripts/verify.sh" with { type: "text" };
import type { Shell } from "./shell.ts";
import { megabytes, parcelFor, type UploadFailure, upload } from "./upload.ts";

/** What a folder must have left beside the binary, for state and logs of workers. */
export const SPARE_BYTES = 16 * 1024 * 1024;
const VERIFY_LIMIT_MS = 60_000;

export const ROOM_ADVICE =
  "make room there, or set XDG_CACHE_HOME for that login to a folder that has some and may run programs";

export interface InstallOptions {
  /** What is going on, for people. */
  progress?(text: string): void;
  /** Ends it; nothing is left there then. */
  signal?: AbortSignal;
}

export interface Installed {
  /** Of the binary, on the host. */
  path: string;
  /** 0 when it was there. */
  sentBytes: number;
}

/**
 * Makes sure that `binary` is on the host as a whole. Throws STORAGE with what was tried and how much room there was, UNREACHABLE
 * when the binary does not run there, CANCELLED, TIMEOUT when the host takes nothing more for a minute.
 */
export async function installBinary(
  shell: Shell,
  facts: HostFacts,
  binary: Binary,
  options: InstallOptions = {},
): Promise<Installed> {
  checkLibraries(facts, shell.label);
  const present = await findInstalled(shell, facts, binary, options);
  if (present) return { path: present, sentBytes: 0 };
  const tried: string[] = [];
  let sentBytes = 0;
  for (const folder of facts.folders) {
    const reason = reasonAgainst(folder, binary);
    if (reason) {
      tried.push(`${folder.path}: ${reason}`);
      continue;
    }
    const result = await upload(shell, { folder: folder.path, binary, tools: facts.tools, ...options });
    sentBytes += result.sentBytes;
    if (!result.failure) return { path: binaryPath(folder.path, binary), sentBytes };
    tried.push(`${folder.path}: ${failureWords(shell.label, result.failure, folder, facts)}`);
  }
  throw noRoom(shell.label, binary, tried);
}

/** Where the binary is in a folder of caches. */
export function binaryPath(folder: string, { sha256 }: Pick<Binary, "sha256">): string {
  return `${folder}/bin/${sha256}/mesh`;
}

/** The command that runs the binary at `path` in a role, for the login shell. */
export function binaryCommand(path: string, ...args: string[]): string {
  return ["exec", path, ...args].map((word) => (/^[\w./+:@=-]+$/.test(word) ? word : quoted(word))).join(" ");
}

/** Whether nothing would have to be sent; without looking at the content of what may have been altered. */
export function isInstalled(facts: HostFacts, { sha256 }: Pick<Binary, "sha256">): boolean {
  return facts.folders.some(({ binaries, problem }) => !problem && binaries.get(sha256) === "whole");
}

/** What an upload of it would send. */
export async function uploadBytes({ tools }: HostFacts, binary: Binary): Promise<number> {
  return (await parcelFor(binary, tools)).sizeBytes;
}

async function findInstalled(
  shell: Shell,
  facts: HostFacts,
  binary: Binary,
  options: InstallOptions,
): Promise<string | undefined> {
  for (const { path, problem, binaries } of facts.folders) {
    const state = problem ? undefined : binaries.get(binary.sha256);
    const file = binaryPath(path, binary);
    if (state === "whole") return file;
    if (state === "doubtful" && (await isWhole(shell, facts, binary, file, options))) return file;
  }
  return undefined;
}

/** Looks at the content of a binary there. */
async function isWhole(
  shell: Shell,
  { tools }: HostFacts,
  binary: Binary,
  file: string,
  { signal }: InstallOptions,
): Promise<boolean> {
  const variables = { ...(await digestVariables(binary, tools)), FOLDER: file.slice(0, -"/mesh".length) };
  const { command, text, mark } = remoteScript(digest + verify, variables);
  const options = { input: text, timeoutMs: VERIFY_LIMIT_MS, ...(signal && { signal }) };
  const { stdout } = await shell.run(command, options);
  return answersIn(stdout, mark).some(([word]) => word === "whole");
}

/** Why a folder will not do, as far as looking tells. */
export function reasonAgainst({ problem, freeBytes }: CacheFolder, { sizeBytes }: Binary): string | undefined {
  if (problem?.kind === "noexec") return "it is mounted noexec";
  if (problem) return problem.words;
  if (freeBytes === undefined || freeBytes >= sizeBytes + SPARE_BYTES) return undefined;
  return `${megabytes(freeBytes)} MB free`;
}

/** Why the next folder is to be tried. Throws when no other one would do better. */
function failureWords(label: string, { kind, words }: UploadFailure, { path }: CacheFolder, facts: HostFacts): string {
  const printed = wordsOf(words);
  if (kind === "storage") return printed || "no room";
  if (kind === "noexec") return `programs cannot be run from there (${printed})`;
  if (kind === "unfit") {
    const message = `${label}: the binary was sent to ${path} and does not run there: ${printed}`;
    const lacking = lackingLibrary(facts);
    const advice = lacking
      ? `it is ${facts.system}, with ${lacking.words}: ${lacking.fix}`
      : "`mesh doctor` shows what it is: report this with its output, or leave the host out";
    throw new MeshError("UNREACHABLE", `${message}; ${advice}`);
  }
  const what = kind === "cut" ? "only a part of the binary arrived" : "the binary arrived altered";
  throw new MeshError("UNREACHABLE", `${label}: ${what} in ${path} (${printed || "no more is known"}): try again`);
}

function noRoom(label: string, { sizeBytes }: Binary, tried: readonly string[]): MeshError {
  const where = tried.length > 0 ? tried.join("; ") : "no folder is known there, not even a HOME";
  const message = `${label} has no place for the binary (${megabytes(sizeBytes + SPARE_BYTES)} MB): ${where}`;
  return new MeshError("STORAGE", `${message}; ${ROOM_ADVICE}`);
}

function checkLibraries(facts: HostFacts, label: string): void {
  const lacking = lackingLibrary(facts);
  if (!lacking || lacking.mayDo) return;
  throw new MeshError("UNREACHABLE", `${label} is ${facts.system}, with ${lacking.words}: ${lacking.fix}`);
}
