// A mesh of real processes on this machine for a test: a coordinator and workers, each as its user would start it, in one
// folder that holds all their state. Nothing is left of it.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { NodeStatus, Status } from "../../core/coordinator/answers.ts";
import {
  type Files,
  type MeshOptions,
  MeshProcess,
  type MeshResult,
  nothingLeft,
  type TestFolder,
  testFolder,
} from "./mesh.ts";
import { until } from "./until.ts";

export interface TestMeshOptions {
  /** Slots of each worker, by its name. Default: w1 and w2 with one each. */
  workers?: Record<string, number>;
  files?: Files;
  /** The text of mesh.toml; by default there is none. */
  config?: string;
  env?: MeshOptions["env"];
  /** What the coordinator and workers listen on. Default "tcp". */
  transport?: "tcp" | "udp";
}

/** No daemon of a test lives longer. */
const DAEMON_LIMIT_MS = 120_000;

export class TestMesh implements AsyncDisposable {
  readonly folder: TestFolder;
  readonly workers = new Map<string, MeshProcess>();
  readonly #options: TestMeshOptions;
  #coordinator: MeshProcess | undefined;
  #address: string;

  private constructor(options: TestMeshOptions) {
    this.#options = options;
    this.#address = this.#anyPort;
    this.folder = testFolder({
      ...options.files,
      ...(options.config !== undefined && { "mesh.toml": options.config }),
    });
  }

  /** Resolves when all workers have joined. */
  static async start(options: TestMeshOptions = {}): Promise<TestMesh> {
    const mesh = new TestMesh(options);
    await mesh.startCoordinator();
    const workers = Object.entries(options.workers ?? { w1: 1, w2: 1 });
    await Promise.all(workers.map(([name, slots]) => mesh.startWorker(name, ["--slots", String(slots)])));
    return mesh;
  }

  get coordinator(): MeshProcess {
    return this.#coordinator!;
  }

  /** Where the coordinator listens. */
  get address(): string {
    return this.#address;
  }

  /** Of the coordinator, its state folder. */
  get state(): string {
    const all = join(this.folder.path, ".state", "mesh");
    return join(all, readdirSync(all)[0]!);
  }

  /** Starts the coordinator, where it was before if it was. */
  async startCoordinator(args: string[] = []): Promise<void> {
    this.#coordinator = this.#daemon(["coordinator", "--listen", this.#address, ...args]);
    await this.#coordinator.prints(/ ready .*listen=/, "stderr");
    this.#address = /listen=(\S+)/.exec(this.#coordinator.stderr)![1]!.split(",")[0]!;
  }

  /** As startCoordinator, but on another port than before. */
  async moveCoordinator(): Promise<void> {
    this.#address = this.#anyPort;
    await this.startCoordinator();
  }

  /** Starts a worker, and waits until it has joined. */
  async startWorker(name: string, args: string[] = [], env: MeshOptions["env"] = {}): Promise<MeshProcess> {
    const worker = this.#daemon(["worker", "--name", name, "--listen", this.#anyPort, ...args], env);
    this.workers.set(name, worker);
    await worker.prints(/ ready /, "stderr");
    return worker;
  }

  worker(name: string): MeshProcess {
    return this.workers.get(name)!;
  }

  /** Starts any command. */
  command(args: string[], options: MeshOptions = {}): MeshProcess {
    return this.#process(args, options);
  }

  /** Runs a command to its end. */
  async mesh(args: string[], options: MeshOptions = {}): Promise<MeshResult> {
    await using command = this.command(args, options);
    return await command.ended();
  }

  /** Starts `mesh run` of a script. */
  start(script: string, { args = [], ...options }: MeshOptions & { args?: string[] } = {}): MeshProcess {
    this.folder.write({ "job.ts": script });
    return this.#process(["run", ...args, "job.ts"], options);
  }

  /** Runs a script that must succeed and print one line of JSON last: returns that. */
  async resultOf(script: string, options: MeshOptions & { args?: string[] } = {}): Promise<unknown> {
    await using run = this.start(script, options);
    const { stdout, stderr, status } = await run.ended();
    if (status !== 0) throw new Error(`mesh ended with ${status}:\n${stderr}\n${stdout}`);
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
  }

  async status(): Promise<Status> {
    const { stdout, stderr, status } = await this.mesh(["status", "--json"]);
    if (status !== 0) throw new Error(`mesh status ended with ${status}: ${stderr}`);
    return JSON.parse(stdout) as Status;
  }

  /** Waits until the coordinator tells this of a node. */
  async nodeIs(name: string, is: (node: NodeStatus | undefined) => boolean, timeoutMs = 15_000): Promise<void> {
    const what = `node ${name} to be as wanted`;
    await until(async () => is((await this.status()).nodes.find((node) => node.name === name)), { what, timeoutMs });
  }

  get #anyPort(): string {
    return `${this.#options.transport ?? "tcp"}://127.0.0.1:0`;
  }

  /** Ends all, and throws when anything is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    const daemons = [...this.workers.values(), ...(this.#coordinator ? [this.#coordinator] : [])];
    try {
      for (const daemon of daemons) daemon.signal("SIGTERM");
      await Promise.all(daemons.map((daemon) => daemon.ended()));
      await nothingLeft(this.folder);
    } finally {
      for (const daemon of daemons) await daemon[Symbol.asyncDispose]();
      this.folder[Symbol.dispose]();
    }
  }

  #daemon(args: string[], env: MeshOptions["env"] = {}): MeshProcess {
    return this.#process(args, { limitMs: DAEMON_LIMIT_MS, env });
  }

  #process(args: string[], options: MeshOptions): MeshProcess {
    const env = { ...this.#options.env, ...options.env };
    return new MeshProcess(this.folder, args, { ...options, env, isOneOfMany: true });
  }
}
