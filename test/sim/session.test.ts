// Sessions over a network that breaks, in simulated time: everything random comes from the seed. MESH_SIM=20000 runs more
// seeds, MESH_SIM_SEED=17 that one alone.
import { expect, it } from "vitest";
import { eachSeed, Simulation } from "../session/simulation.ts";

const SEEDS = Number(process.env.MESH_SIM ?? 1_000);
const ONLY = process.env.MESH_SIM_SEED;
const seeds = ONLY ? [Number(ONLY)] : Array.from({ length: SEEDS }, (_, i) => i + 1);
const LIMIT_MS = 60_000 + 100 * SEEDS;

const counts = {
  cuts: 0,
  halves: 0,
  blocks: 0,
  stops: 0,
  restarts: 0,
  downs: 0,
  frames: 0,
  links: 0,
  duplicates: 0,
  gone: 0,
};

function begin(simulation: Simulation): void {
  const nodes = ["a", "b", "c"].slice(0, simulation.random() < 0.7 ? 2 : 3);
  const hidden = simulation.random() < 0.25 ? simulation.below(nodes.length) : -1;
  nodes.forEach((name, i) => void simulation.add(name, i === hidden));
  if (simulation.random() < 0.4) simulation.breakLinksFor(simulation.pick([500, 2_000]));
  // From one side, or from both at almost the same moment.
  for (const from of simulation.nodes) {
    for (const to of simulation.nodes) {
      if (from === to || to.address === "" || simulation.random() < 0.3) continue;
      simulation.clock.after(simulation.below(60), () => from.to(to));
    }
  }
}

function count(simulation: Simulation): void {
  const { cuts, halves, network } = simulation;
  counts.cuts += cuts;
  counts.halves += halves;
  counts.duplicates += network.refusals.get("DUPLICATE") ?? 0;
  counts.gone += network.refusals.get("GONE") ?? 0;
  for (const { logs } of simulation.everyone) {
    for (const { session, main, bulk } of logs) {
      counts.downs += main.ends.length;
      counts.frames += main.got + bulk.got;
      counts.links += session.main.generation;
    }
  }
}

async function anything(seed: number): Promise<void> {
  const simulation = new Simulation(seed);
  begin(simulation);
  for (let steps = 10 + simulation.below(40); steps > 0; steps--) {
    await simulation.run(simulation.below(simulation.pick([5, 50, 400, 2_000])));
    const [a, b] = simulation.pair();
    const dice = simulation.random();
    if (dice < 0.5) simulation.send(a, b);
    else if (dice < 0.65) simulation.cutOne();
    else if (dice < 0.75) simulation.pauseOrResume();
    else if (dice < 0.85) block(simulation, simulation.pick([300, 3_000, 9_000, 15_000]));
    else if (dice < 0.9) stop(simulation, simulation.pick([500, 2_000, 6_000, 30_000]));
    else if (dice < 0.92) {
      counts.restarts++;
      simulation.restart(a);
    } else {
      simulation.send(b, a);
      simulation.cutOne();
    }
  }
  simulation.heal();
  await simulation.run(30_000);
  await simulation.checkEnd();
  count(simulation);
}

function block(simulation: Simulation, longestMs: number): void {
  const [a, b] = simulation.pair();
  const forMs = simulation.below(longestMs);
  counts.blocks++;
  simulation.network.block(a, b, forMs);
  if (simulation.random() < 0.7) simulation.network.block(b, a, forMs);
}

function stop(simulation: Simulation, longestMs: number): void {
  const node = simulation.pick(simulation.nodes);
  if (node.clock.isStopped) return;
  counts.stops++;
  node.clock.stop();
  simulation.clock.after(simulation.below(longestMs), () => {
    if (node.clock.isStopped) node.clock.proceed();
  });
}

it(
  `F29 F31 F34 X4 X40 Session: every frame once and in order, or the session is told down; one for each pair; ${SEEDS} seeds`,
  async () => {
    await eachSeed(seeds, anything);
    if (process.env.MESH_SIM_COUNTS) console.log(counts);
    if (ONLY) return;
    // A simulation in which nothing goes wrong would prove nothing.
    for (const [name, times] of Object.entries(counts)) expect([name, times > 0]).toEqual([name, true]);
    expect(counts.links).toBeGreaterThan(4 * seeds.length);
    expect(counts.frames).toBeGreaterThan(50 * seeds.length);
  },
  LIMIT_MS,
);

/** One fault at a time, none longer than 5 s, and the next when all is up again. */
async function mild(seed: number): Promise<void> {
  const simulation = new Simulation(seed);
  begin(simulation);
  await simulation.run(12_000);
  for (let steps = 5 + simulation.below(10); steps > 0; steps--) {
    const [a, b] = simulation.pair();
    simulation.send(a, b);
    const dice = simulation.random();
    if (dice < 0.4) simulation.cutOne();
    else if (dice < 0.6) block(simulation, 5_000);
    else if (dice < 0.7) stop(simulation, 2_000);
    else simulation.pauseOrResume();
    simulation.send(b, a);
    await simulation.run(12_000);
  }
  for (const { logs } of simulation.nodes) {
    for (const { session } of logs) if (session.isOver) throw new Error(`down: ${session.error?.message}`);
  }
  simulation.heal();
  await simulation.run(3_000);
  await simulation.checkEnd();
  count(simulation);
}

it(
  `X2 X4 F29 Session: cuts, half-open links, partitions of up to 5 s and stops of up to 2 s go unseen; ${SEEDS} seeds`,
  () => eachSeed(seeds, mild),
  LIMIT_MS,
);
