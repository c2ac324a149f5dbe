// What the facts of a host mean for a worker there: what is well, what is not, and what to do. Judges, asks nobody.
import type { Binary, Finding, ProvidedHost } from "../provider.ts";
import type { CacheFolder, HostFacts } from "./host-facts.ts";
import { isInstalled, ROOM_ADVICE, reasonAgainst, SPARE_BYTES } from "./install.ts";
import { lackingLibrary } from "./libraries.ts";
import { megabytes } from "./upload.ts";

/** Certificates have their times: clocks that differ by more break joining sooner or later. */
const SKEW_PROBLEM_MS = 60_000;
/** More than what asking takes and rounding to seconds make up; times in logs and of files are off by it. */
const SKEW_WARNING_MS = 2_000;
/** What an idle slot holds, and some. */
const SLOT_BYTES = 96 * 1024 * 1024;
const DIGEST_TOOLS = ["sha256sum", "shasum", "openssl", "cksum"];

/** What the probe's facts mean; `binary` is the one that would be sent there, or why there is none. */
export function hostFindings(
  facts: HostFacts,
  binary: Binary | Error,
  { worker }: Pick<ProvidedHost, "worker">,
): Finding[] {
  return [
    system(facts),
    machine(facts, worker.role === "rendezvous" ? 1 : worker.slots),
    ...(binary instanceof Error ? [noBinary(binary)] : [room(facts, binary), present(facts, binary)]),
    tools(facts),
    clock(facts.clockAheadMs),
    ...(facts.endsWithLogin ? [endOfLogin(facts)] : []),
  ];
}

function endOfLogin({ user }: HostFacts): Finding {
  return {
    check: "end of login",
    state: "warning",
    words: "systemd ends all processes of this user with the last login (KillUserProcesses=yes): a worker ends with it",
    fix: `as root there: \`loginctl enable-linger ${user}\``,
  };
}

function system(facts: HostFacts): Finding {
  const { system: words, platform } = facts;
  const lacking = lackingLibrary(facts);
  if (lacking?.mayDo) {
    return { check: "system", state: "warning", words: `${words}, with ${lacking.words}`, fix: lacking.fix };
  }
  if (lacking) return problem("system", `${words}, with ${lacking.words}`, lacking.fix, "UNREACHABLE");
  if (!platform.isBaseline) return { check: "system", state: "ok", words };
  return { check: "system", state: "ok", words: `${words}, without AVX2: it gets the build for older processors` };
}

function machine({ cores, memoryBytes, availableBytes }: HostFacts, wanted: number | undefined): Finding {
  const words = [
    cores === undefined ? "how many cores it has is not told" : counted(cores, "core"),
    ...(memoryBytes === undefined ? [] : [`${gigabytes(memoryBytes)} GB of memory`]),
    ...(availableBytes === undefined ? [] : [`${gigabytes(availableBytes)} GB of it free`]),
  ].join(", ");
  const slots = wanted ?? cores ?? 1;
  if (availableBytes === undefined || availableBytes >= slots * SLOT_BYTES) {
    return { check: "machine", state: "ok", words };
  }
  const fit = Math.max(1, Math.floor(availableBytes / SLOT_BYTES));
  return {
    check: "machine",
    state: "warning",
    words: `${words}: little for ${counted(slots, "slot")}, which take ${megabytes(SLOT_BYTES)} MB each before they do anything`,
    fix: `say slots = ${fit} for it in mesh.toml, or free memory there`,
  };
}

/** Where the binary goes. State and logs are in the home, so that has to be writable besides. */
function room({ folders, home }: HostFacts, binary: Binary): Finding {
  const needed = binary.sizeBytes + SPARE_BYTES;
  const isThere = (folder: CacheFolder) => !folder.problem && folder.binaries.get(binary.sha256) === "whole";
  const taken = folders.find((folder) => isThere(folder) || !reasonAgainst(folder, binary));
  const refused = folders.filter((folder) => folder !== taken && reasonAgainst(folder, binary));
  const reasons = refused.map((folder) => `${folder.path}: ${reasonAgainst(folder, binary)}`);
  if (!taken) {
    const where = reasons.join("; ") || "no folder is known there, not even a HOME";
    return problem("room", `no place for the ${megabytes(needed)} MB of the binary: ${where}`, ROOM_ADVICE, "STORAGE");
  }
  const words = `${taken.path}${taken.freeBytes === undefined ? "" : `, ${gigabytes(taken.freeBytes)} GB free`}`;
  const isHomeBad = refused.some(({ path, problem }) => path.startsWith(`${home}/`) && problem?.kind !== "noexec");
  if (!isHomeBad) return { check: "room", state: "ok", words: [words, ...reasons].join("; not in ") };
  return {
    check: "room",
    state: "warning",
    words: `${[words, ...reasons].join("; not in ")}: the node keeps its certificate and log in the home, too`,
    fix: `make room in ${home} there, and let that user write there`,
  };
}

function present(facts: HostFacts, binary: Binary): Finding {
  if (isInstalled(facts, binary)) return { check: "binary", state: "ok", words: "this build's is there" };
  const states = facts.folders.map(({ binaries }) => binaries.get(binary.sha256));
  if (!states.includes("doubtful")) {
    return { check: "binary", state: "ok", words: "not there yet: `mesh up` sends it" };
  }
  const words = "this build's is there and was changed after it was put there, or copied";
  return { check: "binary", state: "warning", words, fix: `\`mesh up\` looks at its content, and heals it if need be` };
}

function noBinary(error: Error): Finding {
  return problem(
    "binary",
    `none can be made for it: ${error.message}`,
    "build mesh for that system from its sources",
    "UNREACHABLE",
  );
}

function tools({ tools }: HostFacts): Finding {
  const digest = DIGEST_TOOLS.find((tool) => tools.has(tool));
  if (!digest) {
    const words = `none of ${DIGEST_TOOLS.join(", ")}: whether the binary arrived whole cannot be checked`;
    return problem("tools", words, "install coreutils (or busybox) there", "UNREACHABLE");
  }
  if (!tools.has("dd"))
    return problem(
      "tools",
      "no dd, by which the binary is sent",
      "install coreutils (or busybox) there",
      "UNREACHABLE",
    );
  if (tools.has("gzip")) return { check: "tools", state: "ok", words: `dd, gzip, ${digest}` };
  const words = `dd, ${digest}; no gzip: the binary is sent as it is, twice the bytes`;
  return { check: "tools", state: "warning", words, fix: "install gzip there" };
}

/** A clock that many share: `aheadMs` is the host's minus this machine's. */
export function clock(aheadMs: number | undefined): Finding {
  if (aheadMs === undefined) {
    return { check: "clock", state: "skipped", words: "the host does not tell the time in seconds" };
  }
  const off = Math.abs(aheadMs);
  if (off <= SKEW_WARNING_MS) return { check: "clock", state: "ok", words: "as this machine's, within 2 s" };
  const words = `${span(off)} ${aheadMs > 0 ? "ahead of" : "behind"} this machine's`;
  const fix = "set the clock of the one that is wrong: `timedatectl set-ntp true` or chrony, as root";
  if (off <= SKEW_PROBLEM_MS) return { check: "clock", state: "warning", words, fix };
  return problem("clock", `${words}: certificates may count as not valid yet, or as over`, fix, "AUTHENTICATION");
}

function problem(check: string, words: string, fix: string, code: NonNullable<Finding["code"]>): Finding {
  return { check, state: "problem", words, fix, code };
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(bytes < 10e9 ? 1 : 0);
}

function span(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} days`;
}
