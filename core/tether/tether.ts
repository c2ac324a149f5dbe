// The tether of a mesh: carries connections from hosts that cannot dial the mesh, over SSH connections that this machine makes
// to them. It sees what it carries as TLS between the host's worker and whom that dials. Knows no ssh and no TCP: both are
// handed to it.
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Log } from "../log.ts";
import { type HostChannel, HostTether, type TetherPhase } from "./host-tether.ts";
import { type TetheredHost, tetheredHosts } from "./hosts-file.ts";
import type { Reach } from "./serve-stream.ts";

export interface TetherOptions {
  meshName: string;
  /** Opens an SSH connection. Rejects with a MeshError that says what to do. */
  connect(target: string, signal: AbortSignal): Promise<HostChannel>;
  /** Connects a host to whom it asked for; `channelOf` has the connections to other hosts. */
  reach(address: string, channelOf: (name: string) => HostChannel | undefined): ReturnType<Reach>;
  clock: Clock;
  random(): number;
  log: Log;
}

/** How it is with a host; `error` says why it is away. */
export interface TetheredState {
  name: string;
  phase: TetherPhase;
  error?: MeshError;
}

export class Tether {
  readonly #options: TetherOptions;
  readonly #hosts = new Map<string, HostTether>();

  constructor(options: TetherOptions) {
    this.#options = options;
  }

  /** Nothing is to be done any more. */
  get isIdle(): boolean {
    return this.#hosts.size === 0;
  }

  /** Does as the files say now; tries hosts that are away again. Resolves when those that were removed are let go. */
  async look(): Promise<void> {
    const wanted = new Map(tetheredHosts(this.#options.meshName).map((host) => [host.name, host]));
    const gone = [...this.#hosts.values()].filter(({ host }) => !Bun.deepEquals(wanted.get(host.name), host));
    await Promise.all(gone.map((each) => this.#release(each)));
    for (const host of wanted.values()) {
      const known = this.#hosts.get(host.name);
      if (known) known.hurry();
      else this.#hosts.set(host.name, this.#hold(host));
    }
  }

  /** How it is with those hosts, once they are up or a try has failed. */
  async told(names: readonly string[]): Promise<TetheredState[]> {
    await Promise.all(names.map((name) => this.#hosts.get(name)?.told()));
    return names.map((name) => this.stateOf(name));
  }

  /** How it is with a host at the moment. */
  stateOf(name: string): TetheredState {
    const tether = this.#hosts.get(name);
    if (!tether) return { name, phase: "away", error: new MeshError("CANCELLED", `${name} is not tethered any more`) };
    const { phase, error } = tether;
    return { name, phase, ...(phase === "away" && error && { error }) };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#hosts.values()].map((each) => this.#release(each)));
  }

  #hold(host: TetheredHost): HostTether {
    const { connect, clock, log, random, reach } = this.#options;
    return new HostTether({
      host,
      clock,
      log,
      random: () => random(),
      connect: (target, signal) => connect(target, signal),
      reach: (address) => reach(address, (name) => this.#hosts.get(name)?.channel),
    });
  }

  async #release(tether: HostTether): Promise<void> {
    await tether.close();
    if (this.#hosts.get(tether.host.name) === tether) this.#hosts.delete(tether.host.name);
  }
}
