// What the commands that work on hosts share: which hosts, by which providers, with what rights in the mesh.

import { existsSync } from "node:fs";
import { BinaryStore } from "../../core/binary/store.ts";
import type { NodeStatus, Status } from "../../core/coordinator/answers.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
import type { PathReport } from "../../core/coordinator/path-report.ts";
import { isMeshError, MeshError } from "../../core/errors.ts";
import { type Examination, examineHosts, goalsOf } from "../../core/fleet/examine.ts";
import {
  bringDown,
  bringUp,
  type FleetOptions,
  type HostOutcome,
  type NodesByName,
  planUp,
} from "../../core/fleet/fleet.ts";
import {
  andRendezvous,
  type CommonSettings,
  chooseHosts,
  didYouMean,
  type FleetHost,
  hostOf,
  rendezvousOf,
  roleOf,
} from "../../core/fleet/hosts.ts";
import { FleetRecord } from "../../core/fleet/record.ts";
import type { Joined } from "../../core/identity/join.ts";
import { stateFolder, stateFolderPath } from "../../core/identity/state-folder.ts";
import { isTemporaryMesh } from "../../core/member/known.ts";
import type { HostRole, Plan, ProviderContext } from "../../core/provider.ts";
import { ensureTether, releaseTether, wakeTether } from "../../core/tether/ensure.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { hasJoined, openClient } from "../client.ts";
import { type MeshSettings, meshSettings } from "../mesh-settings.ts";
import { ANSWER_LIMIT_MS, ask, askPair, askPath, askStatus } from "../operate/asking.ts";
import { ownCommand } from "../own-command.ts";
import { connectIfUp, endCoordinator, ensureCoordinator, isOfThisBuild } from "../roles/coordinator-daemon.ts";
import { buildName } from "../roles/node-process.ts";
import type { Surroundings } from "../surroundings.ts";
import type { FleetCommandOptions } from "./fleet-options.ts";
import { HostRows } from "./host-rows.ts";
import { personAt } from "./person.ts";
import { Providers } from "./providers.ts";
import { startRemoteCoordinator } from "./remote-coordinator.ts";
import { tetherAccess } from "./tether-process.ts";

/** So much longer than its grace period a worker may take to end. */
const KILL_EXTRA_MS = 30_000;

interface ExamineOptions {
  isThorough: boolean;
  /** Whether the hosts' workers are to reach each other, too. */
  isPair: boolean;
  /** Whether nodes of the mesh are meant that are none of the hosts, too. */
  isAll: boolean;
}

export interface FleetExamination {
  /** What the coordinator says; undefined when the mesh is not up, an error when it cannot be asked. */
  mesh: Status | MeshError | undefined;
  examinations: Examination[];
  /** Nodes that were not looked at on their hosts: only the mesh knows of them. */
  nodesAlone: NodeStatus[];
  /** What all these nodes say of routers before them, of two of each other besides; by their names. */
  reports: ReadonlyMap<string, PathReport | MeshError>;
  /** What is before this machine; undefined when the mesh cannot be asked. */
  own: Pick<PathReport, "nat"> | undefined;
}

/** The hosts a command works on, and all it needs for that. */
export class Fleet implements AsyncDisposable {
  readonly settings: MeshSettings;
  readonly hosts: readonly FleetHost[];
  readonly #known: readonly FleetHost[];
  readonly #record: FleetRecord;
  readonly #providers: Providers;
  readonly #options: FleetCommandOptions;
  readonly #around: Surroundings;
  readonly #rows: HostRows;
  readonly #binaries = new BinaryStore();
  /** Hosts that asked for a tunnel now. */
  readonly #tethered = new Set<string>();
  #client: MeshClient | undefined;

  /** Those that `words` name, else all. Throws USAGE or CONFIG. */
  static async open(words: readonly string[], options: FleetCommandOptions, around: Surroundings): Promise<Fleet> {
    const settings = await meshSettings(options.mesh);
    const folder = stateFolderPath(settings.name);
    // Looking is no reason to make it.
    const record = new FleetRecord(existsSync(folder) ? stateFolder(settings.name) : folder);
    const providers = await Providers.load(settings.config?.plugins.providers ?? [], {
      ownCommand,
      acceptsNewKeys: options.acceptNewKeys === true,
      asksPassword: options.askPassword === true,
      parallel: options.parallel,
    });
    return new Fleet(words, settings, record, providers, options, around);
  }

  private constructor(
    words: readonly string[],
    settings: MeshSettings,
    record: FleetRecord,
    providers: Providers,
    options: FleetCommandOptions,
    around: Surroundings,
  ) {
    this.settings = settings;
    this.#known = knownHosts(settings, record);
    const named = chooseHosts(words, this.#known, commonOf(settings));
    this.hosts = (options.andRendezvous ? andRendezvous(named, this.#known) : named).map((host) =>
      isTemporaryMesh(settings.name) ? { ...host, worker: { ...host.worker, isTemporary: true } } : host,
    );
    this.#record = record;
    this.#providers = providers;
    this.#options = options;
    this.#around = around;
    const names = this.hosts.map(({ name }) => name);
    this.#rows = new HostRows(around, names, options.json === true);
  }

  /** None of them is in mesh.toml, or was brought up before: ssh alone may know them. */
  get areUnknown(): boolean {
    return this.hosts.every((host) => !this.#known.some(({ name }) => name === host.name));
  }

  /** Starts the coordinator if need be, then the workers. A coordinator that was started for nothing is ended again. */
  async up(signal: AbortSignal): Promise<HostOutcome[]> {
    const isNew = (await this.#startCoordinator(signal)) === "started";
    await wakeTether(tetherAccess(this.settings.name, signal));
    const status = await askStatus(this.#client!);
    const outcomes = await bringUp(this.#work(this.#context(status, signal)), nodesOf(status));
    await this.#release(outcomes.filter(({ host, error }) => error && this.#tethered.has(host.name)));
    const hasWorkers = outcomes.some(({ outcome }) => outcome !== "failed");
    if (isNew && !hasWorkers) await this.endCoordinator();
    return outcomes;
  }

  async #startCoordinator(signal: AbortSignal): Promise<"started" | "replaced" | "unchanged"> {
    const { settings } = this;
    const host = this.#coordinatorHost;
    if (!host) {
      const { client, outcome } = await ensureCoordinator(settings, signal);
      this.#client = client;
      this.#tellCoordinator(outcome, "this machine");
      return outcome;
    }
    this.#client = await connectIfUp(settings.name);
    if (this.#client && (await isOfThisBuild(this.#client))) return "unchanged";
    await this.#client?.[Symbol.asyncDispose]();
    const progress = (text: string) => this.#rows.tell(host.name, text);
    const context = { ...this.#context(undefined, signal), progress };
    const { outcome } = await startRemoteCoordinator(host, this.#providers.get(host.provider), settings, context);
    this.#client = await openClient({ mesh: settings.name });
    this.#tellCoordinator(outcome, host.name);
    return outcome;
  }

  /** Undefined for this machine. */
  get #coordinatorHost(): FleetHost | undefined {
    const name = this.settings.config?.coordinator.host ?? "local";
    const host = this.#known.find((each) => each.name === name);
    return isTemporaryMesh(this.settings.name) || host?.provider === "local" ? undefined : host;
  }

  #tellCoordinator(outcome: "started" | "replaced" | "unchanged", where: string): void {
    const words = { started: "runs", replaced: "was replaced by this build's", unchanged: "" }[outcome];
    if (words) this.#rows.say(`the coordinator of the mesh ${this.settings.name} ${words} on ${where}`);
  }

  /** What `up` would do, by host. */
  async plan(signal: AbortSignal): Promise<Map<FleetHost, Plan | MeshError>> {
    this.#client = await connectIfUp(this.settings.name);
    const status = this.#client && (await askStatus(this.#client));
    return await planUp(this.#work(this.#context(status, signal)), nodesOf(status));
  }

  /** Looks at every host, and at the mesh. Rejects for nothing that is wrong with them. */
  async examine({ isThorough, isPair, isAll }: ExamineOptions, signal: AbortSignal): Promise<FleetExamination> {
    const mesh = await this.#statusIfUp();
    const status = mesh instanceof MeshError ? undefined : mesh;
    const nodesAlone = this.#nodesAlone(nodesOf(status), isAll);
    const hosts = this.hosts.filter(({ name }) => !nodesAlone.some((node) => node.name === name));
    const goals = (host: FleetHost) => goalsOf(host, status, isPair ? this.hosts : []);
    const work = this.#work(this.#context(status, signal));
    const context = { ...work.context, isThorough };
    const [examinations, reports, own] = await Promise.all([
      examineHosts({ ...work, hosts, context, goals }),
      this.#reports(status, nodesAlone, isPair),
      status && this.#client?.natAndRendezvous(),
    ]);
    return { mesh, examinations, nodesAlone, reports, own };
  }

  /** Nodes that joined by themselves: of all, or of those that were named, where a host by ssh is not what was meant. */
  #nodesAlone(nodes: NodesByName, isAll: boolean): NodeStatus[] {
    const isKnown = (name: string) => this.#known.some((host) => host.name === name);
    const names = isAll ? [...nodes.keys()].toReversed() : this.hosts.map(({ name }) => name);
    return names
      .filter((name) => !isKnown(name))
      .flatMap((name) => nodes.get(name) ?? [])
      .filter(({ role }) => role === "worker" || role === "rendezvous");
  }

  async #reports(
    status: Status | undefined,
    nodesAlone: readonly NodeStatus[],
    isPair: boolean,
  ): Promise<FleetExamination["reports"]> {
    const nodes = nodesOf(status);
    const all = new Set([...this.hosts.flatMap(({ name }) => nodes.get(name) ?? []), ...nodesAlone]);
    const wanted = [...all].filter(({ state }) => state !== "down");
    if (isPair && wanted.length === 2) return await askPair(this.#client!, wanted[0]!, wanted[1]!);
    const behind = wanted.filter(({ role }) => role !== "rendezvous"); // that is where nothing is between
    const answers = behind.map(async ({ name, node }) => [name, await askPath(this.#client!, { from: node })] as const);
    return new Map(await Promise.all(answers));
  }

  async #statusIfUp(): Promise<Status | MeshError | undefined> {
    try {
      this.#client = await openClient({ mesh: this.settings.name });
      return await askStatus(this.#client);
    } catch (error) {
      if (!isMeshError(error)) throw error;
      return isMeshError(error, "UNREACHABLE") && !hasJoined(this.settings.name) ? undefined : error;
    }
  }

  /** Ends the workers. */
  async down({ purge, graceMs }: { purge: boolean; graceMs: number }, signal: AbortSignal): Promise<HostOutcome[]> {
    await wakeTether(tetherAccess(this.settings.name, signal));
    this.#client = await connectIfUp(this.settings.name);
    const status = this.#client && (await askStatus(this.#client));
    const kill = async (name: string) => {
      await ask(this.#client!, { type: "killNode", body: { name, graceMs }, timeoutMs: graceMs + KILL_EXTRA_MS });
    };
    const wanted = { purge, graceMs, kill };
    const outcomes = await bringDown(this.#work(this.#context(status, signal)), nodesOf(status), wanted);
    await this.#release(outcomes.filter(({ error }) => !error));
    return outcomes;
  }

  /** Takes the rows off the terminal: what follows is the answer. */
  settle(): Promise<void> {
    return this.#rows[Symbol.asyncDispose]();
  }

  /** Whether it ran. */
  async endCoordinator(): Promise<boolean> {
    const client = this.#client;
    this.#client = undefined;
    if (!client) return false;
    await endCoordinator(client);
    return true;
  }

  /** Names of workers that the mesh has and this fleet does not know. */
  async otherWorkers(): Promise<string[]> {
    if (!this.#client) return [];
    const { nodes } = await askStatus(this.#client);
    const known = new Set(this.hosts.map(({ name }) => name));
    return nodes
      .filter(({ role, state, name }) => role === "worker" && state !== "down" && !known.has(name))
      .map(({ name }) => name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.settle();
    await this.#client?.[Symbol.asyncDispose]();
    await this.#providers[Symbol.asyncDispose]();
  }

  async #release(outcomes: HostOutcome[]): Promise<void> {
    const access = tetherAccess(this.settings.name);
    await Promise.all(outcomes.map(({ host }) => releaseTether(host.name, access)));
  }

  #work(context: FleetOptions["context"]): FleetOptions {
    return {
      hosts: this.hosts,
      provider: (name) => this.#providers.get(name),
      context,
      record: this.#record,
      parallel: this.#options.parallel,
      progress: ({ name }, text) => this.#rows.tell(name, text),
      done: ({ host, outcome, error }) =>
        this.#rows.tell(host.name, error ? `failed: ${this.reasonFor(host, error)}` : outcome),
    };
  }

  /** The error's words, with what may have been meant. */
  readonly reasonFor = (host: FleetHost, error: MeshError): string =>
    error.message + (error.code === "UNREACHABLE" ? didYouMean(host, this.#known) : "");

  #roleOf(name: string): HostRole {
    const host = this.hosts.find((each) => each.name === name);
    return host ? roleOf(host) : "worker";
  }

  #context(status: Status | undefined, signal: AbortSignal): Omit<ProviderContext, "progress"> {
    const { name } = this.settings;
    const client = () => {
      if (this.#client) return this.#client;
      throw new MeshError("UNREACHABLE", `the mesh ${name} is not up: nobody can hand out certificates`);
    };
    const person = personAt(this.#around, (use) => this.#rows.aside(use));
    return {
      mesh: { name, id: status?.mesh.id ?? "" },
      build: buildName(),
      certify: ({ publicKey, name }) => {
        const body = { publicKey, role: this.#roleOf(name), name };
        return client().ask<Joined>(MessageType.admit, body, { timeoutMs: ANSWER_LIMIT_MS });
      },
      token: async (name) => {
        const { token } = await ask<{ token: string }>(client(), {
          type: "issueToken",
          body: { role: this.#roleOf(name), name },
        });
        return { token, coordinators: status!.mesh.coordinator.addresses };
      },
      tunnel: async ({ name: host, target }, socketPath) => {
        this.#tethered.add(host);
        const access = tetherAccess(name, signal);
        const [state] = await ensureTether([{ name: host, target, socketPath }], access);
        if (state?.error) throw state.error;
      },
      binary: (platform) => this.#binaries.binary(platform, { signal, progress: (text) => this.#rows.say(text) }),
      signal,
      ...(person && { person }),
    };
  }
}

function commonOf({ transports, timing }: MeshSettings): CommonSettings {
  return { transports, ...timing };
}

/** Those of mesh.toml, and those that were brought up without it. */
function knownHosts(settings: MeshSettings, record: FleetRecord): FleetHost[] {
  const { config } = settings;
  const common = commonOf(settings);
  const rendezvous = config && rendezvousOf(config, common);
  const named = [...(rendezvous ? [rendezvous] : []), ...(config?.hosts ?? []).map((host) => hostOf(host, common))];
  const names = new Set(named.map(({ name }) => name));
  return [...named, ...record.hosts.filter(({ name }) => !names.has(name))];
}

/** Of one name, the one that has it, which comes before those that retire. */
function nodesOf(status: Status | undefined): NodesByName {
  return new Map((status?.nodes ?? []).toReversed().map((node) => [node.name, node]));
}
