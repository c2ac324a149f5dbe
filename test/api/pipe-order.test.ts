// F31 F33 F34 F37 X40: pipes with many senders and receivers in many processes, by seeds. MESH_SIM=5000 runs more of them,
// MESH_SIM_SEED=17 that one alone.
import { expect, it } from "vitest";
import type { Funnel, Spout } from "../../core/api/pipe-ends.ts";
import { isMeshError } from "../../core/errors.ts";
import { randomOf } from "../support/random.ts";
import { meshOf, type Process, pause, travelled } from "./pipe-support.ts";

const SEEDS = Number(process.env.MESH_SIM ?? 150);
const ONLY = process.env.MESH_SIM_SEED;

interface Item {
  sender: number;
  number: number;
  bytes: Uint8Array;
}

/** How those who receive behave: they take what comes, or also give up, look, and leave loops half way. */
type Manner = "steady" | "fickle";

class Simulation {
  readonly #random: () => number;
  readonly #manner: Manner;
  readonly received: Item[][] = [];
  sent = 0;
  most = 0;

  constructor(seed: number, manner: Manner) {
    this.#random = randomOf(seed);
    this.#manner = manner;
  }

  async run(receivers: number): Promise<void> {
    const isDirect = this.#random() < 0.5;
    const [mesh, home, ...others] = await meshOf(3, isDirect);
    const senders = this.#below(3) + 1;
    const highWaterBytes = 1 + this.#below(3_000);
    const [funnel, spout] = mesh.pipe<Item>(home, { senders, receivers: 100, highWaterBytes });
    const processes = [home, ...others];
    const somewhere = () => processes[this.#below(processes.length)]!;
    const all: Promise<void>[] = [];
    for (let i = 0; i < senders; i++) all.push(this.#send(i, travelled(funnel, home, somewhere())));
    for (let i = 0; i < receivers; i++) {
      this.received.push([]);
      all.push(this.#receive(this.received[i]!, travelled(spout, home, somewhere())));
    }
    await Promise.all(all);
    await this.#nothingIsKept(processes);
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  async #send(sender: number, funnel: Funnel<Item>): Promise<void> {
    const total = this.#below(60);
    this.sent += total;
    const open: Promise<void>[] = [];
    for (let number = 0; number < total; number++) {
      const bytes = new Uint8Array(this.#random() < 0.03 ? 600_000 : this.#below(400)).fill(number);
      open.push(funnel.send({ sender, number, bytes }));
      if (this.#random() < 0.5) await pause(this.#random);
      if (this.#random() < 0.1) await funnel.flush();
      if (this.#random() < 0.2) await Promise.all(open.splice(0));
    }
    await Promise.all(open);
    await funnel.close();
  }

  async #receive(into: Item[], spout: Spout<Item>): Promise<void> {
    for (;;) {
      await pause(this.#random, 8);
      try {
        if (this.#manner === "fickle" && (await this.#fickly(into, spout))) continue;
        if (this.#random() < 0.5) into.push(await spout.receive());
        else {
          for await (const item of spout) {
            into.push(item);
            if (this.#random() < 0.3) await pause(this.#random);
          }
          return;
        }
      } catch (error) {
        if (isMeshError(error, "CLOSED")) return;
        throw error;
      }
    }
  }

  /** Does something that may take nothing; false when it did nothing. */
  async #fickly(into: Item[], spout: Spout<Item>): Promise<boolean> {
    const choice = this.#below(4);
    if (choice === 0) {
      const item = await spout.tryReceive();
      if (item) into.push(item);
    } else if (choice === 1) {
      const controller = new AbortController();
      const value = Promise.allSettled([spout.receive({ signal: controller.signal })]);
      await pause(this.#random);
      controller.abort();
      const [outcome] = await value;
      if (outcome.status === "fulfilled") into.push(outcome.value);
      else if (!isMeshError(outcome.reason, "CANCELLED")) throw outcome.reason;
    } else if (choice === 2) {
      let left = this.#below(10);
      for await (const item of spout) {
        into.push(item);
        if (left-- === 0) break;
      }
    }
    return choice !== 3;
  }

  async #nothingIsKept(processes: Process[]): Promise<void> {
    for (let turns = 0; turns < 50; turns++) await new Promise((done) => setImmediate(done));
    for (const { pipes } of processes) expect(pipes.counts).toEqual({ pipes: 0, senders: 0, receivers: 0 });
  }
}

/** Each item came once, and whole. */
function checkOnce({ received, sent }: Simulation): void {
  const all = received.flat();
  expect(new Set(all.map(({ sender, number }) => `${sender}/${number}`)).size).toBe(sent);
  expect(all.length).toBe(sent);
  expect(all.every(({ bytes, number }) => bytes.every((byte) => byte === number))).toBe(true);
}

/** What one receiver has of one sender is in the order it was sent. */
function checkOrder({ received }: Simulation): void {
  for (const items of received) {
    const last = new Map<number, number>();
    for (const { sender, number } of items) {
      expect(number).toBeGreaterThan(last.get(sender) ?? -1);
      last.set(sender, number);
    }
  }
}

async function withSeeds(check: (seed: number) => Promise<void>): Promise<void> {
  const seeds = ONLY ? [Number(ONLY)] : Array.from({ length: SEEDS }, (_, i) => i + 1);
  for (const seed of seeds) {
    try {
      await check(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
}

it("F31 F33 F34 many senders, many receivers: each value once, whole, in order for each pair", async () => {
  await withSeeds(async (seed) => {
    const simulation = new Simulation(seed, "steady");
    await simulation.run(1 + (seed % 4));
    checkOnce(simulation);
    checkOrder(simulation);
  });
});

it("F34 F37 one receiver that gives up, looks, and leaves loops: nothing is lost, all stays in order", async () => {
  await withSeeds(async (seed) => {
    const simulation = new Simulation(seed, "fickle");
    await simulation.run(1);
    checkOnce(simulation);
    checkOrder(simulation);
  });
});

it("F37 many such receivers: nothing is lost or doubled", async () => {
  await withSeeds(async (seed) => {
    const simulation = new Simulation(seed, "fickle");
    await simulation.run(2 + (seed % 3));
    checkOnce(simulation);
  });
});
