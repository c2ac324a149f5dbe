// What was seen on the way into a host over SSH, in words for people, with the fix. Judges, asks nobody.
import type { DialOutcome, Finding, FoundWorker, ProvidedHost } from "../../core/provider.ts";
import type { DialFailure } from "./dial-tcp.ts";
import type { HostKeys } from "./host-keys.ts";
import { describeKey } from "./host-keys.ts";
import type { Hop } from "./route.ts";
import type { LoginAccount } from "./ssh-connection.ts";

/** In the order in which they are made; of one that fails, those after it that need it are skipped. */
export const SSH_CHECKS = ["destination", "connection", "host key", "login", "shell"] as const;

/** Where ssh goes for this host, and how. */
export function destinationFinding(route: readonly Hop[], needsSystem: readonly string[]): Finding {
  const { user, hostName, port } = route.at(-1)!.settings;
  const jumps = route.slice(0, -1).map(({ label }) => label);
  const words = [
    `${user}@${hostName} port ${port}`,
    ...(jumps.length > 0 ? [`through ${jumps.join(", then ")}`] : []),
    ...(needsSystem.length > 0 ? [`by the system's ssh, for ${needsSystem.join(", ")}`] : []),
  ];
  return { check: "destination", state: "ok", words: words.join(", ") };
}

/** A connection to where the login goes first: how long it took, or why there is none; undefined when nothing answered. */
export function connectionFinding(host: string, port: number, outcome: number | DialFailure | undefined): Finding {
  const check = "connection";
  if (typeof outcome === "number") return { check, state: "ok", words: `in ${milliseconds(outcome)}` };
  const { words, advice: fix } = outcome ?? {
    words: `${host} port ${port} does not answer`,
    advice: `see whether it is on, whether the address is right, and whether a firewall lets port ${port} through from here`,
  };
  return { check, state: "problem", words, fix, code: "UNREACHABLE" };
}

/** The key that the host showed, and where it is known from. */
export function hostKeyFinding(account: LoginAccount | undefined, { known }: HostKeys): Finding {
  if (!account) return { check: "host key", state: "ok", words: "known, as the system's ssh says" };
  const entry = known.find(({ key, marker }) => marker === undefined && key.equals(account.hostKey));
  const where = entry ? `, known by ${entry.file}:${entry.line}` : "";
  return { check: "host key", state: "ok", words: `${describeKey(account.hostKey)}${where}` };
}

export function loginFinding(account: LoginAccount | undefined): Finding {
  const words = account ? `by ${account.by}` : "by the system's ssh";
  return { check: "login", state: "ok", words };
}

/**
 * Whether sshd lets a tunnel carry the worker's sessions, which counts when the worker cannot dial the coordinator;
 * `refusal` is why not, `isNeeded` undefined where that is not known.
 */
export function forwardingFinding(refusal: string | undefined, isNeeded: boolean | undefined): Finding {
  const check = "tunnel";
  if (refusal === undefined) {
    const words = "sshd would carry the worker's sessions, should it be unable to dial the coordinator";
    return { check, state: "ok", words: isNeeded ? "sshd carries the worker's sessions over the login" : words };
  }
  const fix =
    "AllowStreamLocalForwarding yes in its sshd_config, and no `restrict` or `no-port-forwarding` before the key in authorized_keys";
  if (isNeeded)
    return {
      check,
      state: "problem",
      words: `${refusal}, and the worker has no other way to the coordinator`,
      fix,
      code: "UNREACHABLE",
    };
  return {
    check,
    state: "warning",
    words: `${refusal}; it matters only if the worker cannot dial the coordinator`,
    fix,
  };
}

/** Whether a worker of that name and this build runs; `workers` are all of the mesh there, undefined when nobody can be asked. */
export function workerFinding(
  { name, worker }: ProvidedHost,
  build: string,
  workers: readonly FoundWorker[] | undefined,
): Finding {
  const check = worker.role ?? "worker";
  if (!workers) {
    const words = "not known: mesh of another build is there and does not answer; `mesh up` sends this one";
    return { check, state: "skipped", words };
  }
  const own = workers.filter((worker) => worker.name === name);
  if (own.length === 0) return { check, state: "skipped", words: `none runs there: \`mesh up ${name}\` starts it` };
  const current = own.find((worker) => worker.build === build);
  if (current) return { check, state: "ok", words: `process ${current.pid} runs, of this build` };
  const words = `process ${own[0]!.pid} is of build ${own[0]!.build}, and this is ${build}`;
  return { check, state: "warning", words, fix: `mesh up ${name}` };
}

/** Of logins side by side, how many the host dropped at first. */
export function burstFinding(logins: number, drops: number, failure: string | undefined): Finding {
  const check = "many logins";
  const fix = "MaxStartups 100:30:200 in its sshd_config, or a smaller --parallel here";
  if (failure !== undefined) {
    return {
      check,
      state: "problem",
      words: `of ${logins} at once, not all got in: ${failure}`,
      fix,
      code: "UNREACHABLE",
    };
  }
  if (drops === 0) return { check, state: "ok", words: `${logins} at once, none dropped` };
  return {
    check,
    state: "warning",
    words: `of ${logins} at once, sshd dropped some, ${drops} times in all; trying again helped`,
    fix,
  };
}

/** Whether what a worker has to reach can be reached from its host. */
export function goalFinding(what: string, outcomes: readonly DialOutcome[]): Finding {
  const check = `to ${what}`;
  const reached = outcomes.filter(({ tookMs }) => tookMs !== undefined).sort((a, b) => a.tookMs! - b.tookMs!)[0];
  if (reached) return { check, state: "ok", words: `${reached.address} in ${milliseconds(reached.tookMs!)}` };
  const tried = outcomes.map(({ address, code }) => `${address} (${FAILURE_WORDS[code ?? ""] ?? code})`).join(", ");
  return {
    check,
    state: "warning",
    words: `cannot be dialed from there: ${tried || "it has no address"}`,
    fix: "let that port through the firewalls in between, or say by --advertise how it is reached from there",
  };
}

const FAILURE_WORDS: Record<string, string> = {
  ECONNREFUSED: "refused",
  EHOSTUNREACH: "no route",
  ENETUNREACH: "no route",
  ETIMEDOUT: "no answer",
  ENOTFOUND: "no such name",
};

function milliseconds(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}
