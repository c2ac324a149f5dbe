// The hosts a job may use, the seats this process has taken on them, and telling those hosts so. A host is opened for the
// job when its first seat is taken.
import type { Node } from "../node/node.ts";
import { MessageType } from "../wire/message-types.ts";
import { choiceAmong, type HostChoice, isChosen } from "./host-choice.ts";
import type { HostInfo } from "./hosts.ts";
import type { SlotDown, SlotInfo } from "./slots.ts";
import { Way } from "./way.ts";

/** Hears of the slot that takes a private seat. */
export interface SeatWatcher {
  up(info: SlotInfo): void;
  /** Called before the run that used it hears of it. */
  down(down: SlotDown): void;
}

/** A place for a slot on a host: when the slot dies another takes it. */
export class Seat {
  readonly host: Host;
  /** From 1; for processes of their own from 10,001 on. */
  readonly number: number;
  /** What it is called in messages instead of by its number. */
  readonly name: string | undefined;
  /** Of a seat that only one process ever takes: nobody replaces that. */
  readonly watcher: SeatWatcher | undefined;
  /** How many claims hold it. */
  users = 0;
  /** Why it cannot be filled. */
  failed: string | undefined;

  constructor(host: Host, number: number, own?: { name: string; watcher: SeatWatcher }) {
    this.host = host;
    this.number = number;
    this.name = own?.name;
    this.watcher = own?.watcher;
  }

  /** For messages: "gpu1/3". */
  get label(): string {
    return `${this.host.info.name}/${this.name ?? this.number}`;
  }
}

/** A host as long as it does not leave: one that comes back is another. */
export class Host {
  info: HostInfo;
  /** The one this process itself runs on. */
  readonly isOwn: boolean;
  readonly way = new Way();
  readonly seats = new Map<number, Seat>();
  /** The job may use it, as of now. */
  isOpen: boolean;
  isOpening = false;
  isGone = false;
  /** Why the job cannot be opened there. */
  refusal: Error | undefined;

  constructor(info: HostInfo, isOwn: boolean) {
    this.info = info;
    this.isOwn = isOwn;
    this.isOpen = isOwn; // this process is of the job and runs there
  }

  get isUsable(): boolean {
    return !this.isGone && !this.refusal;
  }

  /** It retires, and this process goes on with it: not with who has its name now, on the same machine. */
  get isKept(): boolean {
    return this.info.retiring === true && (this.isOpen || this.isOpening);
  }

  seat(number: number): Seat {
    const known = this.seats.get(number);
    if (known) return known;
    const seat = new Seat(this, number);
    this.seats.set(number, seat);
    return seat;
  }

  /** How much of it is taken: 1 when each slot has one user. */
  get usage(): number {
    let users = 0;
    for (const seat of this.seats.values()) users += seat.users;
    return users / this.info.slots;
  }
}

/** Seats somebody has taken. The set changes when hosts come and go. */
export interface Claim {
  readonly seats: Set<Seat>;
  choice: HostChoice;
  /** How many seats it wants; undefined: all there are. */
  readonly count: number | undefined;
  /** Takes no other seats when these are lost. */
  readonly isFixed: boolean;
}

export interface SeatsOptions {
  node: Node;
  job: number;
  /** The seat this process itself sits on: its own tasks do not go there. */
  ownSeat: { node: number; seat: number } | undefined;
  /** Opens the job on a host; rejects with the reason why it cannot be used. */
  openHost(node: number): Promise<void>;
  /** A host cannot be opened. */
  refused(host: Host): void;
}

/** Private seats have numbers from here on, so that no other process of the job ever has the same. */
const FIRST_PRIVATE = 10_001;

export class Seats {
  readonly #options: SeatsOptions;
  readonly #hosts = new Map<number, Host>();
  /** The hosts in the order of their names, so that all takes are the same everywhere. */
  #inOrder: Host[] = [];
  #watchesTimeouts = false;

  constructor(options: SeatsOptions) {
    this.#options = options;
  }

  get hosts(): Host[] {
    return this.#inOrder;
  }

  get infos(): HostInfo[] {
    return this.#offered.map(({ info }) => info);
  }

  host(node: number): Host | undefined {
    return this.#hosts.get(node);
  }

  /** Takes the list of hosts as it is now; returns those that are no longer there. */
  update(infos: readonly HostInfo[]): Host[] {
    for (const info of infos) {
      const known = this.#hosts.get(info.node);
      if (known) known.info = info;
      else this.#hosts.set(info.node, new Host(info, info.node === this.#options.node.address.node));
    }
    const listed = new Set(infos.map(({ node }) => node));
    const gone = this.#inOrder.filter(({ info }) => !listed.has(info.node));
    for (const host of gone) this.remove(host);
    this.#sort();
    return gone;
  }

  remove(host: Host): void {
    host.isGone = true;
    this.#hosts.delete(host.info.node);
    this.#sort();
  }

  /** Takes seats on the hosts chosen: `count`, or all. Gives hosts that could not be opened another try. */
  take(choice: HostChoice, count: number | undefined): Claim {
    for (const host of this.#chosen(choice)) host.refusal = undefined;
    const claim: Claim = { seats: new Set(), choice, count, isFixed: false };
    for (const seat of this.fill(claim)) seat.failed = undefined;
    return claim;
  }

  /** Gives back what is lost of a claim and takes what it lacks; returns the seats that are new. */
  fill(claim: Claim): Seat[] {
    for (const seat of claim.seats) {
      if (seat.host.isUsable) continue;
      claim.seats.delete(seat);
      seat.users--;
    }
    if (claim.isFixed) return [];
    const hosts = this.#chosen(claim.choice).filter((host) => host.isUsable);
    const taken = claim.count === undefined ? this.#takeAll(claim, hosts) : this.#takeSome(claim, hosts, claim.count);
    for (const host of new Set(taken.map((seat) => seat.host))) {
      this.#acquire(
        host,
        taken.filter((seat) => seat.host === host),
      );
    }
    return taken;
  }

  /** The seats of a claim that are there now, in the order of their hosts and numbers. */
  inOrder(claim: Claim): Seat[] {
    this.fill(claim);
    const place = new Map(this.#inOrder.map((host, i) => [host, i]));
    const placeOf = ({ host }: Seat) => place.get(host) ?? 0;
    return [...claim.seats].sort((a, b) => placeOf(a) - placeOf(b) || a.number - b.number);
  }

  /** A claim to one seat of another claim. */
  only(seat: Seat): Claim {
    seat.users++;
    return { seats: new Set([seat]), choice: {}, count: 1, isFixed: true };
  }

  /** A seat that nobody else uses, on the least used of the hosts chosen; undefined when there is none. */
  takePrivate(choice: HostChoice, name: string, watcher: SeatWatcher): Claim | undefined {
    const hosts = this.#chosen(choice);
    for (const host of hosts) host.refusal = undefined;
    const host = leastUsed(hosts);
    if (!host) return undefined;
    const [random] = crypto.getRandomValues(new Uint32Array(1));
    const seat = new Seat(host, FIRST_PRIVATE + (random! >>> 1), { name, watcher });
    host.seats.set(seat.number, seat);
    seat.users = 1;
    this.#acquire(host, [seat]);
    return { seats: new Set([seat]), choice, count: 1, isFixed: true };
  }

  /** Gives seats back; returns those that no other claim holds, which are emptied. */
  release(claim: Claim): Seat[] {
    const unused: Seat[] = [];
    for (const seat of claim.seats) {
      if (--seat.users > 0) continue;
      unused.push(seat);
      if (seat.watcher) seat.host.seats.delete(seat.number);
    }
    claim.seats.clear();
    for (const host of new Set(unused.map((seat) => seat.host))) {
      const seats = unused.filter((seat) => seat.host === host).map(({ number }) => number);
      if (host.isOpen && !host.isGone) this.tell(host, MessageType.releaseSlots, { seats });
    }
    return unused;
  }

  /** Has hosts end slots whose items take longer than their limits, from now on. */
  watchTimeouts(): void {
    if (this.#watchesTimeouts) return;
    this.#watchesTimeouts = true;
    for (const host of this.#inOrder) if (host.isOpen) this.tell(host, MessageType.watchTimeouts, {});
  }

  /** Sends the agent of a host an order about this job. */
  tell(host: Host, type: number, body: object): void {
    const { node, job } = this.#options;
    node.notify({ node: host.info.node, slot: 0 }, type, { job, ...body });
  }

  /** As `tell`, for an answer. Rejects when the host is gone, or the job has no slots there. */
  ask(host: Host, type: number, body: object): Promise<unknown> {
    const { node, job } = this.#options;
    return node.request({ node: host.info.node, slot: 0 }, type, { job, ...body }, { keepsProcess: false });
  }

  #sort(): void {
    const key = ({ info }: Host) => `${info.name}\0${String(info.node).padStart(10, "0")}`;
    this.#inOrder = [...this.#hosts.values()].sort((a, b) => (key(a) < key(b) ? -1 : 1));
  }

  #chosen(choice: HostChoice): Host[] {
    const meant = choiceAmong(choice, this.infos);
    return this.#offered.filter(({ info }) => info.slots > 0 && isChosen(meant, info));
  }

  /** All but those that retire unused, and those that have the name of one that is kept. */
  get #offered(): Host[] {
    const kept = this.#inOrder.filter((host) => host.isKept);
    if (kept.length === 0) return this.#inOrder.filter(({ info }) => !info.retiring);
    const isSuccessor = ({ info }: Host) => kept.some((old) => old.info.name === info.name);
    return this.#inOrder.filter((host) => host.isKept || !(host.info.retiring || isSuccessor(host)));
  }

  #takeAll(claim: Claim, hosts: Host[]): Seat[] {
    const missing = hosts.flatMap((host) => this.#seatsOf(host).filter((seat) => !claim.seats.has(seat)));
    return missing.map((seat) => take(claim, seat));
  }

  /** One by one, each from the host that is least used for its size. */
  #takeSome(claim: Claim, hosts: Host[], count: number): Seat[] {
    const taken: Seat[] = [];
    while (claim.seats.size < count) {
      const host = leastUsed(hosts);
      if (!host) break;
      taken.push(take(claim, this.#freest(host, claim)));
    }
    return taken;
  }

  /** The seat of a host that the fewest use, one beyond its slots when the claim has all. */
  #freest(host: Host, claim: Claim): Seat {
    const free = this.#seatsOf(host).filter((seat) => !claim.seats.has(seat));
    if (free.length > 0) return free.reduce((best, seat) => (seat.users < best.users ? seat : best));
    let number = host.info.slots + 1;
    while (this.#isOwn(host, number) || claim.seats.has(host.seat(number))) number++;
    return host.seat(number);
  }

  /** As many seats as the host has slots, without the own one. */
  #seatsOf(host: Host): Seat[] {
    const seats: Seat[] = [];
    for (let number = 1; seats.length < host.info.slots; number++) {
      if (!this.#isOwn(host, number)) seats.push(host.seat(number));
    }
    return seats;
  }

  #isOwn(host: Host, number: number): boolean {
    const { ownSeat } = this.#options;
    return ownSeat?.node === host.info.node && ownSeat.seat === number;
  }

  #acquire(host: Host, seats: Iterable<Seat>): void {
    if (!host.isOpen) {
      if (!host.isOpening) void this.#open(host);
      return;
    }
    const shared: number[] = [];
    for (const seat of seats) {
      if (!seat.watcher) shared.push(seat.number);
      else this.tell(host, MessageType.acquireSlots, { seats: [seat.number], once: true });
    }
    if (shared.length > 0) this.tell(host, MessageType.acquireSlots, { seats: shared });
  }

  async #open(host: Host): Promise<void> {
    host.isOpening = true;
    try {
      await this.#options.openHost(host.info.node);
    } catch (error) {
      host.isOpening = false;
      host.refusal = error as Error;
      if (!host.isGone) this.#options.refused(host);
      return;
    }
    host.isOpening = false;
    if (host.isGone) return;
    host.isOpen = true;
    if (this.#watchesTimeouts) this.tell(host, MessageType.watchTimeouts, {});
    this.#acquire(
      host,
      [...host.seats.values()].filter((seat) => seat.users > 0),
    );
  }
}

function take(claim: Claim, seat: Seat): Seat {
  claim.seats.add(seat);
  seat.users++;
  return seat;
}

/** The first of those of which the smallest part would be taken after one more seat. */
function leastUsed(hosts: readonly Host[]): Host | undefined {
  let best: Host | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const host of hosts) {
    const usage = host.usage + 1 / host.info.slots;
    if (usage >= least) continue;
    best = host;
    least = usage;
  }
  return best;
}
