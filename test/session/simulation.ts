// What the seeded simulations of sessions have in common: some nodes, faults, and what must be true whatever happens.
import type { PeersOptions } from "../../core/session/peers.ts";
import { DEFAULT_LIMITS, type SessionLimits } from "../../core/session/session.ts";
import { randomOf } from "../support/random.ts";
import { SimClock } from "./sim-clock.ts";
import { SimNetwork, type Wire } from "./sim-network.ts";
import { type LaneLog, run, type SessionLog, SimNode, settle } from "./sim-node.ts";

/** The largest frame the simulations send, and what keeping it may waste in a segment. */
const SLACK_BYTES = 2 * 64 * 1024;

export class Simulation {
  readonly random: () => number;
  readonly clock = new SimClock();
  readonly network: SimNetwork;
  /** Processes that live. */
  nodes: SimNode[] = [];
  /** All there ever were. */
  readonly everyone: SimNode[] = [];
  readonly limits: SessionLimits;
  cuts = 0;
  halves = 0;
  readonly #more: Partial<PeersOptions>;
  #nextNode = 100;

  constructor(seed: number, more: Partial<PeersOptions> = {}) {
    this.random = randomOf(seed);
    this.network = new SimNetwork(this.clock, this.random);
    this.network.latencyMs = this.pick([1, 20, 150]);
    const windowBytes = this.pick([600, 20_000, DEFAULT_LIMITS.windowBytes]);
    this.limits = { ...DEFAULT_LIMITS, windowBytes, markBytes: this.pick([1_000, 200_000, DEFAULT_LIMITS.markBytes]) };
    this.#more = { limits: this.limits, ...more };
  }

  below(n: number): number {
    return Math.floor(this.random() * n);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  add(name: string, isHidden = false): SimNode {
    // The order of numbers decides which dial wins: it must not follow the order of birth.
    const node = new SimNode(name, (this.#nextNode++ * 7919) % 99_991, this.network, {
      random: this.random,
      isHidden,
      ...this.#more,
    });
    this.nodes.push(node);
    this.everyone.push(node);
    return node;
  }

  /** Two different nodes that can reach each other. */
  pair(): [SimNode, SimNode] {
    for (;;) {
      const [a, b] = [this.pick(this.nodes), this.pick(this.nodes)];
      if (a !== b && (a.address !== "" || b.address !== "")) return [a, b];
    }
  }

  async run(forMs: number): Promise<void> {
    await run(this.clock, forMs);
    this.checkBounds();
  }

  send(from: SimNode, to: SimNode): void {
    if (from.clock.isStopped) return;
    // One without an address has to be dialed by: it cannot be begun with from here.
    const log = from.get(to) ?? (to.address === "" ? undefined : from.to(to));
    if (!log) return;
    const lane = this.random() < 0.7 ? log.main : log.bulk;
    for (let frames = this.below(20); frames >= 0; frames--) {
      if (lane.mustWait && this.random() < 0.9) return;
      lane.send(this.random() < 0.1 ? this.below(3_000) : this.below(60));
    }
  }

  cutOne(): void {
    const wire = this.#anyWire();
    if (!wire) return;
    const dice = this.random();
    if (dice < 0.4) wire.cut();
    else if (dice < 0.7) wire.cutFor(this.pick([wire.dialer, wire.acceptor]));
    else wire.framesLeft = this.below(8);
    if (dice >= 0.4 && dice < 0.7) this.halves++;
    else this.cuts++;
  }

  pauseOrResume(): void {
    const log = this.#anyLog();
    if (!log) return;
    const { link } = this.pick([log.main, log.bulk]);
    if (this.random() < 0.4) link.pause();
    else link.resume();
  }

  /** A process dies and another of its name starts, with another number. */
  restart(node: SimNode): SimNode {
    this.network.kill(node);
    this.nodes = this.nodes.filter((other) => other !== node);
    return this.add(node.name, node.address === "");
  }

  /** All faults end. */
  heal(): void {
    for (const node of this.nodes) {
      if (node.clock.isStopped) node.clock.proceed();
      for (const { main, bulk } of node.logs) {
        main.link.resume();
        bulk.link.resume();
      }
    }
    for (const wire of this.network.wires) wire.framesLeft = Number.POSITIVE_INFINITY;
    this.network.heal();
  }

  /** Every link made within that time breaks after a few frames, most of them in the middle of the handshake. */
  breakLinksFor(forMs: number): void {
    this.network.framesOfLink = () => this.below(7);
    this.clock.after(forMs, () => {
      this.network.framesOfLink = () => Number.POSITIVE_INFINITY;
    });
  }

  checkBounds(): void {
    for (const { logs } of this.nodes) {
      for (const { session, main, bulk } of logs) {
        const problem = main.problem ?? bulk.problem;
        if (problem) throw new Error(problem);
        for (const { heldBytes, unreadBytes } of Object.values(session.lanes)) {
          if (unreadBytes > this.limits.windowBytes + SLACK_BYTES) throw new Error(`${unreadBytes} bytes unread`);
          if (heldBytes > this.limits.limitBytes + SLACK_BYTES) throw new Error(`${heldBytes} bytes held`);
        }
      }
    }
  }

  /** After everything healed and calmed down: every session lives on both sides with nothing missing, or is told down. */
  async checkEnd(): Promise<void> {
    for (const node of this.everyone) for (const log of node.logs) checkTold(log, this.nodes.includes(node));
    for (const [a, b] of this.#pairs()) {
      for (const [from, to] of [
        [a, b],
        [b, a],
      ] as const)
        if (to.address !== "") from.to(to).main.send(10);
    }
    await this.run(15_000);
    for (const [a, b] of this.#pairs()) this.checkPair(a, b);
  }

  checkPair(a: SimNode, b: SimNode): void {
    const [there, back] = [a.get(b), b.get(a)];
    if (!there || !back) throw new Error(`no session between ${a.name} and ${b.name} after all healed`);
    const [one, other] = [there.session, back.session];
    if (one.epoch !== other.epoch) throw new Error("two sessions between two nodes");
    for (const session of [one, other]) {
      if (session.state.phase !== "up")
        throw new Error(`${session.name} is ${session.state.phase}: ${session.state.why}`);
    }
    checkLane(there.main, back.main);
    checkLane(back.main, there.main);
    checkLane(there.bulk, back.bulk);
    checkLane(back.bulk, there.bulk);
    for (const session of [one, other]) {
      for (const { heldBytes, unreadBytes } of Object.values(session.lanes)) {
        if (heldBytes > 0 || unreadBytes > 0) throw new Error(`${heldBytes} and ${unreadBytes} bytes are still held`);
      }
    }
    const wires = [...this.network.wires].filter((wire) => wire.joins(a) && wire.joins(b));
    if (wires.length > 2) throw new Error(`${wires.length} links between ${a.name} and ${b.name}`);
  }

  #pairs(): [SimNode, SimNode][] {
    const { nodes } = this;
    const pairs = nodes.flatMap((a, i) => nodes.slice(i + 1).map((b): [SimNode, SimNode] => [a, b]));
    return pairs.filter(([a, b]) => a.address !== "" || b.address !== "");
  }

  #anyWire(): Wire | undefined {
    return this.pick([...this.network.wires]);
  }

  #anyLog(): SessionLog | undefined {
    return this.pick(this.pick(this.nodes).logs);
  }
}

/** An end is told once on both lanes, and it says why; a living session has none. */
function checkTold({ session, main, bulk }: SessionLog, isAlive: boolean): void {
  if (!isAlive) return; // of a dead process nothing is told any more
  const ends = session.isOver ? 1 : 0;
  for (const lane of [main, bulk]) {
    if (lane.ends.length !== ends)
      throw new Error(`${lane.ends.length} ends of a session that is ${session.state.phase}`);
    if (lane.ends.some((error) => !error))
      throw new Error(
        `an end without a reason: ${session.state.why}, ${session.name} ${lane === bulk ? "bulk" : "main"} ${session.error?.message}`,
      );
  }
}

function checkLane(from: LaneLog, to: LaneLog): void {
  if (from.sent !== to.got) throw new Error(`${to.got} of ${from.sent} frames came`);
  if (to.hears !== undefined && to.hears !== from.id) throw new Error("frames of another session came");
  if (from.mustWait) throw new Error("a sender waits for ever");
}

/** Runs the simulation of each seed; a failure names its seed. */
export async function eachSeed(seeds: readonly number[], simulate: (seed: number) => Promise<void>): Promise<void> {
  for (const seed of seeds) {
    try {
      await simulate(seed);
      await settle();
    } catch (cause) {
      throw new Error(`seed ${seed} failed (MESH_SIM_SEED=${seed}): ${(cause as Error).message}`, { cause });
    }
  }
}
