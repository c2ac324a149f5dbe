// A mesh of some hosts for one run: `mesh run --hosts a,b job.ts`. However this process ends, the mesh ends with it: its
// coordinator reads its input to the end, and this process holds the other end of that pipe.
import { MeshError } from "../../core/errors.ts";
import { temporaryMeshName } from "../../core/member/known.ts";
import { spawnCoordinator } from "../roles/coordinator-daemon.ts";
import { type Surroundings, say } from "../surroundings.ts";
import { Fleet } from "./fleet.ts";
import type { FleetCommandOptions } from "./fleet-options.ts";
import { startedTethers } from "./tether-process.ts";

/** Its workers get 5 s to end, and 10 s to be seen gone. */
const END_LIMIT_MS = 20_000;

export class TemporaryMesh implements AsyncDisposable {
  readonly name: string;
  readonly #coordinator: Bun.Subprocess;

  private constructor(name: string, coordinator: Bun.Subprocess) {
    this.name = name;
    this.#coordinator = coordinator;
  }

  /** Brings workers up on all hosts that `words` name; those that fail are told. Throws when all do, as the first did. */
  static async start(
    words: readonly string[],
    options: Omit<FleetCommandOptions, "mesh">,
    around: Surroundings,
    signal: AbortSignal,
  ): Promise<TemporaryMesh> {
    const name = temporaryMeshName();
    const args = ["--listen", "tcp://[::]:0", "--temporary"];
    const mesh = new TemporaryMesh(name, await spawnCoordinator(name, { stdin: "pipe", args, signal }));
    try {
      await mesh.#up(words, options, around, signal);
      return mesh;
    } catch (error) {
      await mesh[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The processes to keep while the job's own are swept away: hosts are reached through the tether to the end. */
  get pids(): number[] {
    return [this.#coordinator.pid, ...startedTethers()];
  }

  async #up(
    words: readonly string[],
    options: Omit<FleetCommandOptions, "mesh">,
    around: Surroundings,
    signal: AbortSignal,
  ): Promise<void> {
    await using fleet = await Fleet.open(words, { ...options, mesh: this.name }, around);
    const outcomes = await fleet.up(signal);
    await fleet.settle();
    const failures = outcomes.flatMap(({ host, error }) => (error ? [{ host, error }] : []));
    if (signal.aborted) throw new MeshError("CANCELLED", "given up", { cause: signal.reason });
    if (failures.length === outcomes.length) throw failures[0]!.error;
    for (const { host, error } of failures) await say(around, `without ${host.name}: ${fleet.reasonFor(host, error)}`);
  }

  /** Ends the workers, then the coordinator; nothing of the mesh stays, here or there, but the binary on the hosts. */
  async [Symbol.asyncDispose](): Promise<void> {
    const coordinator = this.#coordinator;
    await (coordinator.stdin as Bun.FileSink).end();
    const timer = setTimeout(() => coordinator.kill("SIGKILL"), END_LIMIT_MS);
    await coordinator.exited;
    clearTimeout(timer);
  }
}
