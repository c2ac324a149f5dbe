// A mesh on a Network: a coordinator on the outside, workers and a desk behind routers, all joined by tokens. Each host has a home
// and state of its own.
import type { NodeStatus, Status } from "../../core/coordinator/answers.ts";
import { MeshProcess, type MeshResult, nothingLeft, type TestFolder, testFolder } from "../support/mesh.ts";
import { until } from "../support/until.ts";
import { CENTRE, DESK, jsonOf } from "./lab-mesh.ts";
import type { Network } from "./network.ts";

const LIMIT_MS = 170_000;

export interface NatMeshOptions {
  /** Hosts with a worker of one slot each; these, the desk and the coordinator's are in the network already. */
  workers: readonly string[];
  /** The text of mesh.toml on every host. */
  config?: string;
}

export class NatMesh implements AsyncDisposable {
  readonly network: Network;
  readonly #folders = new Map<string, TestFolder>();
  readonly #daemons = new Map<string, MeshProcess>();

  private constructor(network: Network, { workers, config = "" }: NatMeshOptions) {
    this.network = network;
    for (const name of [CENTRE, DESK, ...workers]) this.#folders.set(name, testFolder({ "mesh.toml": config }));
  }

  /** Resolves when all have joined. The network is the mesh's from here on. */
  static async start(network: Network, options: NatMeshOptions): Promise<NatMesh> {
    const mesh = new NatMesh(network, options);
    try {
      await mesh.startCoordinator();
      const env = { MESH_TOKEN: await mesh.#token("head") };
      await mesh.succeed(DESK, ["join", mesh.address, "--name", DESK], env);
      await Promise.all(options.workers.map(async (name) => mesh.startWorker(name, await mesh.#token("worker"))));
      return mesh;
    } catch (error) {
      await mesh.#killAll();
      throw error;
    }
  }

  get address(): string {
    return `tcp://${this.network.address(CENTRE)}:7450`;
  }

  daemon(name: string): MeshProcess {
    return this.#daemons.get(name)!;
  }

  async startCoordinator(): Promise<void> {
    await this.#start(CENTRE, ["coordinator"]).prints(/ ready .*listen=/, "stderr");
  }

  async startWorker(name: string, token?: string): Promise<void> {
    const args = ["worker", "--join", this.address, "--name", name, "--slots", "1"];
    await this.#start(name, args, token === undefined ? {} : { MESH_TOKEN: token }).prints(/ ready /, "stderr");
  }

  /** On a host that has no worker. */
  async startRendezvous(host: string): Promise<MeshProcess> {
    this.#folders.set(host, testFolder({ "mesh.toml": "" }));
    const env = { MESH_TOKEN: await this.#token("rendezvous") };
    const rendezvous = this.#start(host, ["rendezvous", "--join", this.address], env);
    await rendezvous.prints(/ ready /, "stderr");
    return rendezvous;
  }

  command(host: string, args: string[], env: Record<string, string> = {}): MeshProcess {
    const folder = this.#folders.get(host)!;
    const home = { HOME: folder.path, XDG_CONFIG_HOME: undefined, XDG_CACHE_HOME: undefined, ...env };
    const through = this.network.through(host);
    return new MeshProcess(folder, args, { limitMs: LIMIT_MS, env: home, through, isOneOfMany: true });
  }

  async succeed(host: string, args: string[], env: Record<string, string> = {}): Promise<MeshResult> {
    await using command = this.command(host, args, env);
    const result = await command.ended();
    if (result.status !== 0) throw new Error(`mesh ${args.join(" ")} ended with ${result.status}:\n${result.stderr}`);
    return result;
  }

  /** Starts `mesh run` of a script at the desk. */
  run(script: string): MeshProcess {
    this.#folders.get(DESK)!.write({ "job.ts": script });
    return this.command(DESK, ["run", "job.ts"]);
  }

  /** Runs a script at the desk that must succeed and print one line of JSON last: returns that. */
  async resultOf(script: string): Promise<unknown> {
    await using run = this.run(script);
    return await jsonOf(run);
  }

  async status(): Promise<Status> {
    return JSON.parse((await this.succeed(CENTRE, ["status", "--json"])).stdout) as Status;
  }

  /** How a node says that it reaches another; undefined when it does not. */
  async path(from: string, to: string): Promise<NodeStatus["peers"][number] | undefined> {
    const { nodes } = await this.status();
    return nodes.find(({ name }) => name === from)?.peers.find(({ name }) => name === to);
  }

  /** Waits until a node reaches another by one of these kinds of path. */
  async isReachedBy(from: string, to: string, kinds: readonly string[], timeoutMs = 20_000): Promise<void> {
    let last: unknown;
    const look = async () => {
      const path = await this.path(from, to);
      last = path;
      return path !== undefined && kinds.includes(path.path) && path.state === "up";
    };
    try {
      await until(look, { what: `${from} to reach ${to} by ${kinds.join(" or ")}`, timeoutMs });
    } catch (cause) {
      throw new Error(`${from} reaches ${to} so: ${JSON.stringify(last)}`, { cause });
    }
  }

  /** Ends all, and throws when anything is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const daemon of this.#daemons.values()) daemon.signal("SIGTERM");
      await Promise.all([...this.#daemons.values()].map((daemon) => daemon.ended()));
      for (const folder of this.#folders.values()) await nothingLeft(folder);
    } finally {
      await this.#killAll();
    }
  }

  async #token(role: "worker" | "head" | "rendezvous"): Promise<string> {
    const { stdout } = await this.succeed(CENTRE, ["token", "--role", role]);
    return stdout.trim().split("\n").at(-1)!;
  }

  #start(host: string, args: string[], env: Record<string, string> = {}): MeshProcess {
    const daemon = this.command(host, args, env);
    this.#daemons.set(host, daemon);
    return daemon;
  }

  async #killAll(): Promise<void> {
    for (const daemon of this.#daemons.values()) await daemon[Symbol.asyncDispose]();
    for (const folder of this.#folders.values()) folder[Symbol.dispose]();
    this.network[Symbol.dispose]();
  }
}
