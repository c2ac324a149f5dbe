// The birthday method: one side's router gives each socket an unknown port, so that side opens many sockets, and the other tries
// many ports. 257 open of 64,512 are met by 2,000 tries with a probability of 99.97 %.
import { hostAndPort, hostOf, portOf } from "../ip-address.ts";
import { outsideHost } from "./candidates.ts";

/** Sockets that are opened beside the first one. */
const EXTRA_SOCKETS = 256;

/** Ports that are tried. Each takes a line in the tables of the routers between. */
const GUESSED_PORTS = 2_000;

/** Some routers number their ports: so many are tried first that follow those seen. */
const NEIGHBOURS = 24;

const FIRST_PORT = 1_024;
const PORTS = 65_536 - FIRST_PORT;

/** Packets in a second while new sockets or ports are left, and after that. */
const RATE = { fresh: 500, again: 200 };
const TURN_MS = 10;

/** What to do next: probe that address from the first socket, or the other's outside address from that socket, which is new at first. */
export type Turn = { remote: string } | { socket: number; isNew: boolean };

/** Hands out what is due, in turns of some packets. */
export class Crowd {
  readonly #items: readonly Turn[];
  #next = 0;
  #dueAt = Number.NEGATIVE_INFINITY;

  constructor(items: readonly Turn[]) {
    this.#items = items;
  }

  /** When the next turn is due. */
  get dueAt(): number {
    return this.#dueAt;
  }

  take(now: number): Turn[] {
    if (now < this.#dueAt) return [];
    this.#dueAt = now + TURN_MS;
    const rate = this.#next < this.#items.length ? RATE.fresh : RATE.again;
    return Array.from({ length: (rate * TURN_MS) / 1_000 }, () => this.#take());
  }

  #take(): Turn {
    const item = this.#items[this.#next % this.#items.length]!;
    const isFirst = this.#next++ < this.#items.length;
    return "socket" in item ? { ...item, isNew: isFirst } : item;
  }
}

/** Sockets 1, 2, 3 …: the first one, 0, is there. */
export function openPorts(count = EXTRA_SOCKETS): Crowd {
  return new Crowd(Array.from({ length: count }, (_, i) => ({ socket: i + 1, isNew: true })));
}

/** Ports of the other's outside host: those after the ones that were seen, then random ones; `random` gives numbers from 0 up to 1. */
export function guessPorts(named: readonly string[], random: () => number, count = GUESSED_PORTS): Crowd {
  const host = outsideHost(named)!;
  const seen = new Set(named.filter((remote) => hostOf(remote) === host).map(portOf));
  const ports = new Set<number>();
  for (let step = 1; step <= NEIGHBOURS; step++) for (const port of seen) ports.add(port + step);
  while (ports.size < count) ports.add(FIRST_PORT + Math.floor(random() * PORTS));
  const unseen = [...ports].filter((port) => port < 65_536 && !seen.has(port));
  return new Crowd(unseen.map((port) => ({ remote: hostAndPort(host, port) })));
}
