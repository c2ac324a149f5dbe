// The coordinator of a mesh that lasts as long as the process that made it. However that ends, the mesh ends with it: the
// coordinator reads its input to the end, and this process holds the other end of that pipe.
import { temporaryMeshName } from "../../core/member/known.ts";
import { meshSettings } from "../mesh-settings.ts";
import type { CoordinatorSettings } from "./coordinator.ts";
import { spawnCoordinator } from "./coordinator-daemon.ts";

/** Its workers get 5 s to end, and 10 s to be seen gone. */
const END_LIMIT_MS = 20_000;

export class TemporaryCoordinator {
  readonly mesh: string;
  readonly #process: Bun.Subprocess;

  private constructor(mesh: string, process: Bun.Subprocess) {
    this.mesh = mesh;
    this.#process = process;
  }

  /** `started` hears of its process at once. Throws what it says when it does not get ready, CANCELLED. */
  static async start(signal: AbortSignal, started: (pid: number) => void = () => {}): Promise<TemporaryCoordinator> {
    const mesh = temporaryMeshName();
    // What mesh.toml says of hosts and ports is for the mesh of that name.
    const { transports, timing, leaseMs } = await meshSettings(mesh);
    const settings: CoordinatorSettings = {
      name: mesh,
      listen: undefined,
      transports,
      timing,
      rendezvous: {},
      leaseMs,
    };
    const args = ["--any-port", "--temporary", "--settings", JSON.stringify(settings)];
    return new TemporaryCoordinator(mesh, await spawnCoordinator(mesh, { stdin: "pipe", args, signal, started }));
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Ends the workers, then the coordinator; nothing of the mesh stays, here or there, but the binary on the hosts. */
  async end(): Promise<void> {
    await (this.#process.stdin as Bun.FileSink).end();
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), END_LIMIT_MS);
    await this.#process.exited;
    clearTimeout(timer);
  }
}
