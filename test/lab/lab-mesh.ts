// A mesh over the hosts of a Lan, each process started as its user would on that host: a coordinator, workers and a
// machine for jobs that join by token. Each host has a home and state of its own.
import type { NodeStatus, Status } from "../../core/coordinator/answers.ts";
import { hostAndPort } from "../../core/ip-address.ts";
import {
  type MeshOptions,
  MeshProcess,
  type MeshResult,
  nothingLeft,
  type TestFolder,
  testFolder,
} from "../support/mesh.ts";
import { until } from "../support/until.ts";
import { Lan } from "./lan.ts";

/** The host of the coordinator, and the one where jobs are started. */
export const CENTRE = "centre";
export const DESK = "desk";
const PORT = 7450;

/** Short limits, so that a test need not wait long for them. */
export const QUICK = `[mesh]
heartbeat = "200ms"
suspectAfter = "600ms"
downAfter = "3s"
lease = "3s"
`;

const LIMIT_MS = 110_000;

export interface LabMeshOptions {
  /** Slots of each worker, by the name of its host. */
  workers: Record<string, number>;
  family?: 4 | 6;
  /** The text of mesh.toml on every host. */
  config?: string;
  /** Further arguments of `mesh worker`, by host. */
  workerArgs?: Record<string, string[]>;
  coordinatorArgs?: string[];
  /** What the coordinator listens on. Default "tcp". */
  transport?: "tcp" | "udp";
  /** No process lives longer. Default 110,000. */
  limitMs?: number;
  /** Where the hosts stand. Default: on one Lan. */
  ground?: LabGround;
}

/** The hosts of a mesh, in a network that the test has made. */
export interface LabGround extends Disposable {
  /** Of a host. */
  ip(name: string): string;
  /** The command that runs another one there. */
  through(name: string): string[];
}

export class LabMesh implements AsyncDisposable {
  readonly folders = new Map<string, TestFolder>();
  readonly #options: LabMeshOptions;
  readonly #ground: LabGround;
  readonly #daemons = new Map<string, MeshProcess>();

  private constructor(options: LabMeshOptions) {
    this.#options = options;
    const names = [CENTRE, DESK, ...Object.keys(options.workers)];
    this.#ground = options.ground ?? new Lan(names, options.family);
    for (const name of names) this.folders.set(name, testFolder({ "mesh.toml": options.config ?? QUICK }));
  }

  /** Resolves when all workers have joined, and the desk may start jobs. */
  static async start(options: LabMeshOptions): Promise<LabMesh> {
    const mesh = new LabMesh(options);
    try {
      await mesh.startCoordinator();
      const joined = Object.keys(options.workers).map((name) => mesh.#joinWorker(name));
      await Promise.all([...joined, mesh.#joinDesk()]);
      return mesh;
    } catch (error) {
      await mesh.#killAll();
      throw error;
    }
  }

  get lan(): Lan {
    if (this.#ground instanceof Lan) return this.#ground;
    throw new Error("the hosts stand elsewhere");
  }

  get address(): string {
    return `${this.#options.transport ?? "tcp"}://${hostAndPort(this.#ground.ip(CENTRE), PORT)}`;
  }

  get coordinator(): MeshProcess {
    return this.#daemons.get(CENTRE)!;
  }

  worker(name: string): MeshProcess {
    return this.#daemons.get(name)!;
  }

  async startCoordinator(): Promise<void> {
    const args = this.#options.coordinatorArgs ?? ["--listen", this.address];
    const coordinator = this.#daemon(CENTRE, ["coordinator", ...args]);
    await coordinator.prints(/ ready .*listen=/, "stderr");
  }

  /** Starts a worker that joined before, and waits until it is back. */
  async startWorker(name: string, env: MeshOptions["env"] = {}): Promise<MeshProcess> {
    const { workers, workerArgs } = this.#options;
    const args = ["worker", "--join", this.address, "--name", name, "--slots", String(workers[name])];
    const worker = this.#daemon(name, [...args, ...(workerArgs?.[name] ?? [])], env);
    await worker.prints(/ ready /, "stderr");
    return worker;
  }

  /** Ends a worker as its user would. */
  async stop(name: string): Promise<void> {
    this.worker(name).signal("SIGTERM");
    await this.worker(name).ended();
  }

  /** A token, as `mesh token` prints it where the coordinator runs. */
  async token(role: "worker" | "head" | "rendezvous"): Promise<string> {
    const { stdout } = await this.succeed(CENTRE, ["token", "--role", role]);
    return stdout.trim().split("\n").at(-1)!;
  }

  /** Starts a command on a host. */
  start(host: string, args: string[], options: MeshOptions = {}): MeshProcess {
    const folder = this.folders.get(host)!;
    const through = this.#ground.through(host);
    const env = { HOME: folder.path, XDG_CONFIG_HOME: undefined, XDG_CACHE_HOME: undefined, ...options.env };
    return new MeshProcess(folder, args, { limitMs: 60_000, ...options, env, through, isOneOfMany: true });
  }

  /** Runs a command on a host to its end. */
  async mesh(host: string, args: string[], options: MeshOptions = {}): Promise<MeshResult> {
    await using command = this.start(host, args, options);
    return await command.ended();
  }

  async succeed(host: string, args: string[], options: MeshOptions = {}): Promise<MeshResult> {
    const result = await this.mesh(host, args, options);
    if (result.status !== 0) throw new Error(`mesh ${args.join(" ")} ended with ${result.status}:\n${result.stderr}`);
    return result;
  }

  /** Starts `mesh run` of a script at the desk. */
  run(script: string, args: string[] = []): MeshProcess {
    this.folders.get(DESK)!.write({ "job.ts": script });
    return this.start(DESK, ["run", ...args, "job.ts"]);
  }

  /** Runs a script at the desk that must succeed and print one line of JSON last: returns that. */
  async resultOf(script: string): Promise<unknown> {
    await using run = this.run(script);
    return await jsonOf(run);
  }

  async status(): Promise<Status> {
    return JSON.parse((await this.succeed(CENTRE, ["status", "--json"])).stdout) as Status;
  }

  /** Waits until the coordinator tells this of a node. */
  async nodeIs(name: string, is: (node: NodeStatus | undefined) => boolean, timeoutMs = 15_000): Promise<void> {
    let last: NodeStatus | undefined;
    const look = async () => {
      last = (await this.status()).nodes.find((node) => node.name === name);
      return is(last);
    };
    try {
      await until(look, { what: `node ${name} to be as wanted`, timeoutMs });
    } catch (cause) {
      throw new Error(`node ${name} is ${JSON.stringify(last)}`, { cause });
    }
  }

  /** Processes in a role on a host. */
  inRole(host: string, role: "head" | "slot"): number[] {
    const of = this.#daemons.get(host) ?? this.coordinator;
    return of.inRole(role).map(({ pid }) => pid);
  }

  /** Ends all, and throws when anything is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#ground instanceof Lan) this.#ground.heal();
      for (const daemon of this.#daemons.values()) daemon.signal("SIGTERM");
      await Promise.all([...this.#daemons.values()].map((daemon) => daemon.ended()));
      for (const folder of this.folders.values()) await nothingLeft(folder);
    } finally {
      await this.#killAll();
    }
  }

  async #joinWorker(name: string): Promise<void> {
    await this.startWorker(name, { MESH_TOKEN: await this.token("worker") });
  }

  async #joinDesk(): Promise<void> {
    const env = { MESH_TOKEN: await this.token("head") };
    await this.succeed(DESK, ["join", this.address, "--name", DESK], { env });
  }

  #daemon(host: string, args: string[], env: MeshOptions["env"] = {}): MeshProcess {
    const daemon = this.start(host, args, { env, limitMs: this.#options.limitMs ?? LIMIT_MS });
    this.#daemons.set(host, daemon);
    return daemon;
  }

  async #killAll(): Promise<void> {
    for (const daemon of this.#daemons.values()) await daemon[Symbol.asyncDispose]();
    for (const folder of this.folders.values()) folder[Symbol.dispose]();
    this.#ground[Symbol.dispose]();
  }
}

/** Waits for the end of a run that must succeed, and print one line of JSON last: returns that. */
export async function jsonOf(run: MeshProcess): Promise<unknown> {
  const { stdout, stderr, status } = await run.ended();
  if (status !== 0) throw new Error(`mesh run ended with ${status}:\n${stderr}\n${stdout}`);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}
