// A mesh of some hosts for one run: `mesh run --hosts a,b job.ts`.
import { MeshError } from "../../core/errors.ts";
import { TemporaryCoordinator } from "../roles/temporary-coordinator.ts";
import { type Surroundings, say } from "../surroundings.ts";
import { Fleet } from "./fleet.ts";
import type { FleetCommandOptions } from "./fleet-options.ts";
import { startedTethers } from "./tether-process.ts";

export class TemporaryMesh implements AsyncDisposable {
  readonly name: string;
  readonly #coordinator: TemporaryCoordinator;

  private constructor(coordinator: TemporaryCoordinator) {
    this.name = coordinator.mesh;
    this.#coordinator = coordinator;
  }

  /** Brings workers up on all hosts that `words` name; those that fail are told. Throws when all do, as the first did. */
  static async start(
    words: readonly string[],
    options: Omit<FleetCommandOptions, "mesh">,
    around: Surroundings,
    signal: AbortSignal,
  ): Promise<TemporaryMesh> {
    const mesh = new TemporaryMesh(await TemporaryCoordinator.start(signal));
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#coordinator.end();
  }
}
