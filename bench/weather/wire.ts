// A wire with weather on it: `wire.ts DEVICE DEVICE` makes two TAP devices in its network namespace, and what is sent into one comes out
// of the other. A line of JSON on stdin is the weather (fate.ts) from then on, answered by "set"; the end of stdin ends it.
//
// It carries all of Ethernet, so TCP, UDP and ICMP of both families have the same weather; what finds addresses (ARP) is spared, as it is of
// the lab and not of the internet. One loop without promises: three calls of the kernel for a packet, exact to some 50 µs.
import { readSync, writeSync } from "node:fs";
import { fateOf, HELD_MS, type WeatherSettings } from "./fate.ts";
import { openTap, Places, waiterFor } from "./tap.ts";

/** A packet of 1,500 B and its Ethernet head. */
const PLACE_BYTES = 2_048;
/** Packets that may be on their way: 90 MB/s for 250 ms. */
const PLACES = 16_384;
/** Read in one go, before others have their turn. */
const BATCH = 64;
const TYPE_OFFSET = 12;
const ARP = 0x0806;
const LONGEST_WAIT_MS = 60_000;
const STDIN = 0;

interface Packet {
  place: number;
  size: number;
  dueMs: number;
  next?: Packet;
}

/** Packets that all take equally long. */
class Lane {
  #first: Packet | undefined;
  #last: Packet | undefined;

  get dueMs(): number {
    return this.#first?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  add(packet: Packet): void {
    if (this.#first) this.#last!.next = packet;
    else this.#first = packet;
    this.#last = packet;
  }

  take(): Packet {
    const packet = this.#first!;
    this.#first = packet.next;
    return packet;
  }
}

class Direction {
  readonly #number: number;
  readonly #from: number;
  readonly #to: number;
  readonly #prompt = new Lane();
  readonly #held = new Lane();
  #packets = 0;

  constructor(number: number, from: number, to: number) {
    this.#number = number;
    this.#from = from;
    this.#to = to;
  }

  get dueMs(): number {
    return Math.min(this.#prompt.dueMs, this.#held.dueMs);
  }

  read(nowMs: number): void {
    for (let i = 0; i < BATCH; i++) {
      const place = places.take();
      if (place === undefined) return;
      const size = places.read(this.#from, place);
      if (size <= 0) {
        places.give(place);
        return;
      }
      this.#carry(place, size, nowMs);
    }
  }

  deliver(nowMs: number): void {
    for (const lane of [this.#prompt, this.#held]) {
      while (lane.dueMs <= nowMs) {
        const { place, size } = lane.take();
        places.write(this.#to, place, size);
        places.give(place);
      }
    }
  }

  #carry(place: number, size: number, nowMs: number): void {
    const dueMs = nowMs + (weather.delayMs ?? 0);
    const isSpared = places.uint16At(place, TYPE_OFFSET) === ARP;
    const { prompt, held } = isSpared ? { prompt: true } : fateOf(weather, this.#number, this.#packets++);
    const copy = prompt && held ? places.take() : undefined;
    if (copy !== undefined) {
      places.copy(place, copy);
      this.#held.add({ place: copy, size, dueMs: dueMs + HELD_MS });
    }
    if (prompt) this.#prompt.add({ place, size, dueMs });
    else if (held) this.#held.add({ place, size, dueMs: dueMs + HELD_MS });
    else places.give(place);
  }
}

const places = new Places(PLACES, PLACE_BYTES);
let weather: WeatherSettings = {};

const [one, other] = process.argv.slice(2).map(openTap) as [number, number];
const directions = [new Direction(0, one, other), new Direction(1, other, one)];
const wait = waiterFor([one, other, STDIN]);
const input = Buffer.alloc(4_096);

while (true) {
  const dueMs = Math.min(...directions.map((direction) => direction.dueMs), performance.now() + LONGEST_WAIT_MS);
  const [, , isToldSomething] = wait(Math.max(0, dueMs - performance.now()));
  const nowMs = performance.now();
  for (const direction of directions) {
    direction.read(nowMs);
    direction.deliver(nowMs);
  }
  if (!isToldSomething) continue;
  const size = readSync(STDIN, input);
  if (size === 0) break;
  weather = JSON.parse(input.toString("utf8", 0, size));
  writeSync(1, "set\n");
}
