// Processes of one job in this process, joined through their node as slots are, or directly besides.

import { type HandleServices, serveHandles } from "../../core/api/handle-services.ts";
import { Funnel, Spout } from "../../core/api/pipe-ends.ts";
import type { WhenFull } from "../../core/api/pipe-sender.ts";
import { ManualClock } from "../../core/clock.ts";
import { Node } from "../../core/node/node.ts";
import { Codec } from "../../core/wire/codec.ts";
import { connect } from "../node/support.ts";

const NODE = 2;

export interface Process extends HandleServices {
  node: Node;
  slot: number;
}

interface Limits {
  highWaterBytes?: number;
  full?: WhenFull;
  senders?: number;
  receivers?: number;
}

export class PipeMesh {
  readonly clock = new ManualClock();
  readonly #hub = new Node({ node: NODE, slot: 0 }, new Codec());
  readonly #processes = new Map<number, Process>();
  readonly #folder: string | undefined;
  #nextSlot = 1;

  constructor(folder?: string) {
    this.#folder = folder;
    // As an agent does: whoever waits for a process that is gone hears of it.
    this.#hub.onPeerLost = (gone) => {
      for (const { node } of this.#processes.values()) if (!node.hasPeer(gone)) node.processGone(gone);
    };
  }

  /** A process, joined to all through their node, and directly to those given. */
  async start(...direct: Process[]): Promise<Process> {
    const slot = this.#nextSlot++;
    const node = new Node({ node: NODE, slot }, new Codec(), this.clock);
    const name = `here/${slot}`;
    const services = serveHandles({ node, name, clock: this.clock, ...(this.#folder && { folder: this.#folder }) });
    const process = { node, slot, ...services };
    await connect(node, this.#hub, true);
    for (const other of direct) await connect(node, other.node);
    this.#processes.set(slot, process);
    return process;
  }

  /** Ends it as a kill would: its links are gone, and nothing it does reaches anybody. */
  kill(process: Process): void {
    this.#processes.delete(process.slot);
    process.node.close();
  }

  pipe<T>(home: Process, limits: Limits = {}): [Funnel<T>, Spout<T>] {
    const { highWaterBytes = 1024 * 1024, full = "wait", senders = 1, receivers = 1 } = limits;
    const place = home.pipes.make({ highWaterBytes, senders, receivers });
    return [new Funnel<T>(home.pipes, place, highWaterBytes, full), new Spout<T>(home.pipes, place)];
  }
}

/** What arrives in `there` when `value` is sent from `here`. */
export function travelled<T>(value: T, here: Process, there: Process): T {
  return there.node.codec.decode(here.node.codec.encode(value)) as T;
}

/** A mesh of a home and so many others; `isDirect` joins those to the home as a pool does. */
export async function meshOf(count: number, isDirect = false): Promise<[PipeMesh, Process, ...Process[]]> {
  const mesh = new PipeMesh();
  const home = await mesh.start();
  const others: Process[] = [];
  for (let i = 0; i < count; i++) others.push(await mesh.start(...(isDirect ? [home] : [])));
  return [mesh, home, ...others];
}

/** Some turns of the loop: as many as chance wants. */
export async function pause(random: () => number, most = 4): Promise<void> {
  for (let turns = Math.floor(random() * most); turns > 0; turns--) await new Promise((done) => setImmediate(done));
}
