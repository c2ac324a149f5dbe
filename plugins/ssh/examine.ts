// One host as `mesh doctor` sees it over SSH: each step of what `mesh up` does there, and what it would stumble over.
import { randomBytes } from "node:crypto";
import { hostFindings } from "../../core/bootstrap/findings.ts";
import { type HostAnswers, type HostFacts, hostFacts } from "../../core/bootstrap/host-facts.ts";
import { binaryPath, isInstalled } from "../../core/bootstrap/install.ts";
import { limited } from "../../core/bootstrap/limited.ts";
import { askHost } from "../../core/bootstrap/probe.ts";
import { isMeshError, type MeshError } from "../../core/errors.ts";
import type { Binary, DialOutcome, ExamineContext, Finding, FoundWorker, ProvidedHost } from "../../core/provider.ts";
import { connectSsh, routeTo, systemNeeds } from "./connect.ts";
import { DialFailure, dialTcp } from "./dial-tcp.ts";
import { Dialing } from "./dialing.ts";
import { loadHostKeys } from "./host-keys.ts";
import { talk, workersOn } from "./mesh-host.ts";
import { Refusal, RefusedHostKey } from "./refusal.ts";
import type { Hop } from "./route.ts";
import type { SshSettings } from "./settings.ts";
import type { SshConnection, SshOptions } from "./ssh-connection.ts";
import {
  burstFinding,
  connectionFinding,
  destinationFinding,
  forwardingFinding,
  goalFinding,
  hostKeyFinding,
  loginFinding,
  SSH_CHECKS,
  workerFinding,
} from "./ssh-findings.ts";

const CONNECT_LIMIT_MS = 5_000;
const FORWARD_LIMIT_MS = 10_000;
/** RFC 4254, section 5.1: SSH_OPEN_CONNECT_FAILED; sshd tried. */
const CONNECT_FAILED = 2;
const BURST_LOGINS = 8;
const BURST_LIMIT_MS = 60_000;

/** Never rejects but with CANCELLED. `options` are those of its logins. */
export async function examineHost(
  host: ProvidedHost,
  context: ExamineContext,
  options: SshOptions,
): Promise<Finding[]> {
  const examination = new Examination(host, context, options);
  await examination.run();
  return examination.findings;
}

class Examination {
  readonly findings: Finding[] = [];
  readonly #host: ProvidedHost;
  readonly #context: ExamineContext;
  readonly #options: SshOptions;

  constructor(host: ProvidedHost, context: ExamineContext, options: SshOptions) {
    this.#host = host;
    this.#context = context;
    this.#options = options;
  }

  async run(): Promise<void> {
    const route = await this.#step("destination", () => this.#findRoute());
    if (!route || !(await this.#isThere(route))) return this.#skipRest();
    await using shell = await this.#step("login", () => this.#logIn(route));
    if (!shell) return this.#skipRest();
    const answers = await this.#step("shell", () => this.#askHost(shell));
    if (!answers) return this.#skipRest();
    const facts = await this.#step("system", async () => hostFacts(answers, shell.label));
    const binary = facts && (await this.#judge(facts));
    const path = facts && binary && pathOf(facts, binary);
    if (facts) await this.#step("worker", () => this.#lookForWorker(shell, facts, path));
    const reaches = await this.#step("ways", () => this.#dialGoals(shell, path));
    await this.#step("tunnel", async () => this.#add(await this.#tunnel(shell, reaches)));
    if (this.#context.isThorough) await this.#step("many logins", async () => this.#add(await this.#burst()));
  }

  #add(...findings: Finding[]): void {
    this.findings.push(...findings);
  }

  /** What goes wrong in it is a finding of `check`, and hides nothing else. */
  async #step<Value>(check: string, act: () => Promise<Value>): Promise<Value | undefined> {
    try {
      return await act();
    } catch (error) {
      if (this.#context.signal.aborted || !isMeshError(error)) throw error;
      this.#add(failure(check, error));
      return undefined;
    }
  }

  #skipRest(): void {
    const told = new Set(this.findings.map(({ check }) => check));
    const rest = SSH_CHECKS.filter((check) => !told.has(check));
    const words = `not looked at, for want of a ${told.has("shell") ? "shell" : "login"}`;
    for (const check of [...rest, "the host itself"]) this.#add({ check, state: "skipped", words });
  }

  async #findRoute(): Promise<Hop[]> {
    const route = await routeTo(this.#host.target, this.#options);
    this.#add(destinationFinding(route, await systemNeeds(route)));
    return route;
  }

  /** Whether something listens where the login goes first, as far as that can be asked without one. */
  async #isThere(route: readonly Hop[]): Promise<boolean> {
    const { settings, label } = route[0]!;
    if (settings.needsSystem.includes("ProxyCommand")) {
      this.#add({ check: "connection", state: "skipped", words: "it goes through a ProxyCommand: the login tells" });
      return true;
    }
    const finding = connectionFinding(settings.hostName, settings.port, await this.#dial(settings));
    if (route.length > 1) finding.words = `to the jump host ${label}: ${finding.words}`;
    this.#add(finding);
    return finding.state === "ok";
  }

  /** How long it took, or why it failed; undefined when nothing answered. */
  async #dial(settings: SshSettings): Promise<number | DialFailure | undefined> {
    const begin = performance.now();
    const { socket, made } = dialTcp(settings);
    try {
      await limited(made, { ms: CONNECT_LIMIT_MS, signal: this.#context.signal, what: "a connection" });
      return performance.now() - begin;
    } catch (error) {
      if (error instanceof DialFailure) return error;
      if (isMeshError(error, "TIMEOUT")) return undefined;
      throw error;
    } finally {
      socket.destroy();
    }
  }

  async #logIn(route: readonly Hop[]): Promise<SshConnection> {
    this.#context.progress("logging in");
    try {
      const shell = await connectSsh(this.#host.target, this.#options);
      this.#add(hostKeyFinding(shell.account, await loadHostKeys(route.at(-1)!.settings)), loginFinding(shell.account));
      return shell;
    } catch (error) {
      if (error instanceof Refusal && !(error instanceof RefusedHostKey)) {
        this.#add({ check: "host key", state: "ok", words: "known" });
      }
      throw error;
    }
  }

  async #askHost(shell: SshConnection): Promise<HostAnswers> {
    this.#context.progress("looking at it");
    const answers = await askHost(shell, this.#context);
    this.#add({ check: "shell", state: "ok", words: "runs commands" });
    return answers;
  }

  /** What the host has is enough, or not; the binary for it. */
  async #judge(facts: HostFacts): Promise<Binary | undefined> {
    const binary = await this.#context.binary(facts.platform).catch((error: Error) => error);
    if (binary instanceof Error && !isMeshError(binary)) throw binary;
    this.#add(...hostFindings(facts, binary, this.#host));
    return binary instanceof Error ? undefined : binary;
  }

  async #lookForWorker(shell: SshConnection, facts: HostFacts, path: string | undefined): Promise<void> {
    const workers = await this.#findWorkers(shell, facts, path);
    this.#add(workerFinding(this.#host, this.#context.build, workers));
  }

  /** Undefined when there is mesh of another build alone, and it does not answer. */
  async #findWorkers(
    shell: SshConnection,
    facts: HostFacts,
    path: string | undefined,
  ): Promise<FoundWorker[] | undefined> {
    try {
      return await workersOn(shell, facts, this.#host, this.#context);
    } catch (error) {
      if (path !== undefined || this.#context.signal.aborted || !isMeshError(error)) throw error;
      return undefined;
    }
  }

  /** Whether what the worker has to reach can be: asked of mesh there, else of sshd. Undefined when neither tells. */
  async #dialGoals(shell: SshConnection, path: string | undefined): Promise<boolean | undefined> {
    let reaches: boolean | undefined;
    if (this.#context.goals.length > 0) this.#context.progress("seeing what it reaches");
    for (const { what, addresses } of this.#context.goals) {
      const outcomes = path ? await this.#dialByMesh(shell, path, addresses) : await dialBySshd(shell, addresses);
      if (outcomes) {
        const finding = goalFinding(what, outcomes);
        this.#add(finding);
        if (what === "the coordinator") reaches = finding.state === "ok";
      } else
        this.#add({
          check: `to ${what}`,
          state: "skipped",
          words: "not known before mesh is there: `mesh up` sends it",
        });
    }
    return reaches;
  }

  async #dialByMesh(shell: SshConnection, path: string, addresses: string[]): Promise<DialOutcome[]> {
    return (await talk(shell, path, { op: "dial", addresses }, this.#host, this.#context)).outcomes;
  }

  async #tunnel(shell: SshConnection, reaches: boolean | undefined): Promise<Finding> {
    const socket = `/tmp/.mesh-doctor-${randomBytes(8).toString("hex")}`;
    const what = `${shell.label}: asking sshd for a tunnel`;
    const isNeeded = reaches === undefined ? undefined : !reaches;
    try {
      const asked = shell.forwardInUnix(socket, (stream) => stream.destroy());
      const forwarding = await limited(asked, { ms: FORWARD_LIMIT_MS, signal: this.#context.signal, what });
      await forwarding[Symbol.asyncDispose]();
      return forwardingFinding(undefined, isNeeded);
    } catch (error) {
      if (isMeshError(error, "CANCELLED") || isMeshError(error, "LINK_CLOSED")) throw error;
      return forwardingFinding("sshd refuses to carry a tunnel", isNeeded);
    } finally {
      // sshd leaves it.
      await shell.run(`rm -f ${socket}`, { timeoutMs: FORWARD_LIMIT_MS }).catch(() => {});
    }
  }

  /** Logs in side by side, as `mesh up` on many hosts behind one sshd or jump host would. */
  async #burst(): Promise<Finding> {
    this.#context.progress(`logging in ${BURST_LOGINS} times at once`);
    const { dialing: shared, ...options } = this.#options;
    const dialing = new Dialing({ parallel: BURST_LOGINS, ...(shared && { keyRing: shared.keyRing }) });
    const signal = AbortSignal.any([this.#context.signal, AbortSignal.timeout(BURST_LIMIT_MS)]);
    const logins = Array.from({ length: BURST_LOGINS }, () =>
      connectSsh(this.#host.target, { ...options, dialing, signal }),
    );
    const ended = await Promise.allSettled(logins);
    await Promise.all(ended.map((login) => login.status === "fulfilled" && login.value[Symbol.asyncDispose]()));
    this.#context.signal.throwIfAborted();
    const failed = ended.find((login) => login.status === "rejected");
    return burstFinding(BURST_LOGINS, dialing.drops, failed && (failed.reason as Error).message);
  }
}

/** This build's binary on the host, if it is whole. */
function pathOf(facts: HostFacts, binary: Binary): string | undefined {
  if (!isInstalled(facts, binary)) return undefined;
  const folder = facts.folders.find(({ problem, binaries }) => !problem && binaries.get(binary.sha256) === "whole")!;
  return binaryPath(folder.path, binary);
}

/** Undefined when sshd does not connect to anywhere for us. */
async function dialBySshd(shell: SshConnection, addresses: readonly string[]): Promise<DialOutcome[] | undefined> {
  if (shell.means === "ssh") return undefined; // it takes every connection, and tells nothing of the other end
  const outcomes = await Promise.all(addresses.map((address) => dialOneBySshd(shell, address)));
  return outcomes.some((outcome) => outcome === undefined) ? undefined : (outcomes as DialOutcome[]);
}

async function dialOneBySshd(shell: SshConnection, address: string): Promise<DialOutcome | undefined> {
  const { hostname, port } = new URL(address);
  const begin = performance.now();
  try {
    const asked = shell.forwardOut({ host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) });
    const stream = await limited(asked, { ms: CONNECT_LIMIT_MS, what: address });
    stream.destroy();
    return { address, tookMs: performance.now() - begin };
  } catch (error) {
    if (isMeshError(error, "TIMEOUT")) return { address, code: "ETIMEDOUT" };
    const { reason, message } = (error as Error).cause as Error & { reason?: unknown };
    if (reason !== CONNECT_FAILED) return undefined;
    return { address, code: /refused/.test(message) ? "ECONNREFUSED" : "EHOSTUNREACH" };
  }
}

/** An error in a step, with its advice apart where it has one. */
function failure(check: string, error: MeshError): Finding {
  if (error instanceof RefusedHostKey) check = "host key";
  if (error instanceof Refusal) {
    return { check, state: "problem", words: error.words, fix: error.advice, code: error.code };
  }
  return { check, state: "problem", words: error.message, code: error.code };
}
