// A simulated network with some nodes, for tests of one situation at a time.
import { expect } from "vitest";
import type { PeersOptions } from "../../core/session/peers.ts";
import { randomOf } from "../support/random.ts";
import { SimClock } from "./sim-clock.ts";
import { SimNetwork, type Wire } from "./sim-network.ts";
import { run, type SessionLog, SimNode } from "./sim-node.ts";

export class World {
  readonly clock = new SimClock();
  readonly random: () => number;
  readonly network: SimNetwork;

  constructor(seed = 1) {
    this.random = randomOf(seed);
    this.network = new SimNetwork(this.clock, this.random);
  }

  node(name: string, node: number, more: Partial<PeersOptions> & { isHidden?: boolean } = {}): SimNode {
    return new SimNode(name, node, this.network, { random: this.random, ...more });
  }

  run(ms: number): Promise<void> {
    return run(this.clock, ms);
  }

  /** Two nodes with a session, that A dialed. */
  async linked(ofA: Partial<PeersOptions> & { isHidden?: boolean } = {}, ofB: typeof ofA = {}) {
    const [a, b] = [this.node("a", 100, ofA), this.node("b", 200, ofB)];
    const ab = a.to(b);
    await this.run(200);
    const ba = b.get(a)!;
    expect([ab.session.state.phase, ba.session.state.phase]).toEqual(["up", "up"]);
    return { a, b, ab, ba, wire: [...this.network.wires][0]! };
  }

  async runUntil(condition: () => boolean): Promise<void> {
    for (let ms = 0; !condition(); ms++) {
      if (ms > 60_000) throw new Error("waited in vain");
      await this.run(1);
    }
  }

  async wiresWithin(ms: number): Promise<Wire[]> {
    await this.runUntil(() => this.network.wires.size > 0 || this.clock.now() > ms);
    return [...this.network.wires];
  }

  wiresOf(a: SimNode, b: SimNode): Wire[] {
    return [...this.network.wires].filter((wire) => wire.joins(a) && wire.joins(b));
  }
}

export const phases = (...logs: SessionLog[]) => logs.map(({ session }) => session.state.phase);
export const errorsOf = ({ main }: SessionLog) => main.ends.map((error) => error?.message);
