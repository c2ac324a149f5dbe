// All that this node shares with one other: the main lane, a second one for bulk that is made when it is needed, and the
// search for links for both. It begins with the first contact and ends for good when either side gives it up.
import { randomBytes } from "node:crypto";
import { isMeshError, MeshError } from "../errors.ts";
import type { Role } from "../identity/names.ts";
import { type DialFailure, isVerdict } from "./dial-round.ts";
import type { Expectation, Welcomed } from "./dialer.ts";
import { FailedRounds } from "./failed-rounds.ts";
import { LANE_BULK, LANE_MAIN } from "./greeting.ts";
import type { VerifiedIdentity } from "./handshake.ts";
import type { LinkEnd } from "./link-end.ts";
import { roundLimitMs } from "./machine/backoff.ts";
import { kindOf, PUNCH_RANK, rankOf, rankOfAddress, STRAIGHT_RANK, shownAddress } from "./machine/ladder.ts";
import type { Phase } from "./machine/liveness.ts";
import { Refusal } from "./refusal.ts";
import { Seeker, type SeekerOptions } from "./seeker.ts";
import { Session, type SessionOptions, type SessionOwner, type SessionStatus } from "./session.ts";
import { type FailedPath, Whereabouts } from "./whereabouts.ts";

export interface PeerInfo {
  node: number;
  name: string;
  role: Role;
  /** Where it listens; none: it has to dial. */
  addresses: readonly string[];
}

/** How a peer is reached at the moment. */
export interface Path {
  /** The scheme of the address that was dialed, by whichever side: "tcp". */
  kind: string;
  address: string;
  /** The own port that it goes from, where that matters: "40001". */
  local?: string;
  /** Undefined until the first heartbeat was echoed. */
  rttMs: number | undefined;
  /** How long it has been in use. */
  sinceMs: number;
}

export interface PeerState {
  phase: Phase;
  /** How long ago that began. */
  forMs: number;
  /** What happened last, for people. */
  why: string;
}

/** What a session needs of who keeps all sessions of the node. */
export interface SessionHome {
  readonly seeking: Omit<SeekerOptions, "addresses" | "expect" | "limitMs">;
  readonly lanes: Omit<SessionOptions, "peer" | "isLazy" | "owner">;
  readonly self: { node: number; name: string };
  /** Where this node listens. */
  addresses(): readonly string[];
  /** What to dial for a peer that listens there. */
  waysTo(addresses: readonly string[]): readonly string[];
  /** Sessions with that node that are over, latest first. */
  endedWith(node: number): string[];
  /**
   * A session that was begun by address found out which node answers there. False: there is a session with that node
   * already, and this one is not needed. Throws a Refusal when it may not be.
   */
  bind(session: PeerSession, node: number): boolean;
  /** Called once, before the first frame. */
  announce(session: PeerSession): void;
  ended(session: PeerSession): void;
  /** One of the lanes goes over another link than before, or has none. */
  pathChanged(session: PeerSession): void;
  introduce(peer: PeerInfo): void;
  refused(error: MeshError): void;
}

/** No use in asking more often to be introduced to the same peer. */
const INTRODUCE_EVERY_MS = 2_000;

export class PeerSession {
  readonly main: Session;
  readonly bulk: Session;
  /** Names the session between the two nodes; agreed on with the first link. */
  epoch: string;
  /** 0 until it is known. */
  node: number;
  /** Of its certificate, once it showed one. */
  serial = "";
  build = "";
  /** Why it is over; set with `isOver`. */
  error: Error | undefined;
  readonly #home: SessionHome;
  readonly #seekers: { main: Seeker; bulk: Seeker };
  readonly #waiting: { resolve(): void; reject(error: Error): void }[] = [];
  readonly #whenOver = Promise.withResolvers<void>();
  #identity: VerifiedIdentity | undefined;
  readonly #expect: Expectation;
  /** Fails when the first round does. */
  readonly #tryOnce: boolean;
  readonly #where: Whereabouts;
  readonly #failed: FailedRounds;
  #isAnnounced = false;
  #isBegunHere = false;
  /** When it was last asked for, while climbing and without a good path: the one must not hold up the other. */
  readonly #introducedAt = { climbing: Number.NEGATIVE_INFINITY, seeking: Number.NEGATIVE_INFINITY };

  /** Begins a session with whom `expect` says; `epoch` when the peer named it. Looks for links from `begin` on. */
  constructor(
    home: SessionHome,
    expect: Expectation,
    {
      addresses = [],
      epoch,
      tryOnce = false,
    }: { addresses?: readonly string[]; epoch?: string; tryOnce?: boolean } = {},
  ) {
    this.#home = home;
    this.#expect = expect;
    this.#where = new Whereabouts(addresses, { clock: home.lanes.clock, waysTo: (known) => home.waysTo(known) });
    this.#tryOnce = tryOnce;
    this.node = expect.node ?? 0;
    this.epoch = epoch ?? randomBytes(8).toString("hex");
    const peer = () => (this.role === "coordinator" ? "the coordinator" : `node ${this.name}`);
    this.#failed = new FailedRounds({
      ...{ peer, where: this.#where, timing: home.lanes.timing, tryOnce, isNodeKnown: expect.node !== undefined },
      refused: (error) => home.refused(error),
    });
    this.main = new Session({ ...home.lanes, peer, isLazy: false, owner: this.#owner });
    this.bulk = new Session({ ...home.lanes, peer: () => `${peer()} (bulk)`, isLazy: true, owner: this.#owner });
    this.#seekers = { main: this.#seekerOf(this.main), bulk: this.#seekerOf(this.bulk) };
  }

  get name(): string {
    return (
      this.#identity?.name ?? this.#expect.name ?? (this.node === 0 ? this.addresses.join(", ") : String(this.node))
    );
  }

  /** What its certificate says; what was expected before it showed one. */
  get role(): Role {
    return this.#identity?.role ?? this.#expect.role ?? "client";
  }

  /** Where it listens, as far as it or others said. */
  get addresses(): readonly string[] {
    return this.#where.addresses;
  }

  get info(): PeerInfo {
    const { node, name, role, addresses } = this;
    return { node, name, role, addresses };
  }

  get state(): PeerState {
    const { phase, forMs, why } = this.main.status;
    return { phase, forMs, why };
  }

  /** Of the main lane: the path in use, or the last one. */
  get path(): Path | undefined {
    return pathOf(this.main);
  }

  /** Of the lanes that have a link: the main lane's first. A hole or relay that leads to none of them is not used. */
  get paths(): Path[] {
    return [this.main, this.bulk].filter(({ hasLink }) => hasLink).map((lane) => pathOf(lane)!);
  }

  /** Addresses that were tried and did not lead to the peer, latest first, at most 12. */
  get failedPaths(): FailedPath[] {
    return this.#where.failedPaths;
  }

  /** Both lanes in numbers. */
  get lanes(): { main: SessionStatus; bulk: SessionStatus } {
    return { main: this.main.status, bulk: this.bulk.status };
  }

  get isUp(): boolean {
    return this.main.isUp;
  }

  get isOver(): boolean {
    return this.main.isOver;
  }

  /** It was told to who uses sessions. */
  get isAnnounced(): boolean {
    return this.#isAnnounced;
  }

  /** Resolves when it is over, for whatever reason. */
  get over(): Promise<void> {
    return this.#whenOver.promise;
  }

  /** Resolves when the peer is reached; rejects when the session ends before. */
  whenUp(): Promise<void> {
    if (this.main.isUp && this.main.isConfirmed) return Promise.resolve();
    if (this.isOver) return Promise.reject(this.error ?? ended(this.name));
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Looked for from here, not begun by the peer. */
  get isBegunHere(): boolean {
    return this.#isBegunHere;
  }

  /** Whether the peer may be who that certificate says. */
  mayBe({ name, role }: VerifiedIdentity): boolean {
    const known = this.#identity ?? this.#expect;
    return (known.name ?? name) === name && (known.role ?? role) === role;
  }

  /** Looks for the first link. */
  begin(): void {
    this.#isBegunHere = true;
    this.#seekers.main.seek(false);
  }

  /** Sends what was taken on both lanes, then says goodbye. Resolves when that is done. */
  close(): Promise<void> {
    this.main.close();
    return this.over;
  }

  /** Learns of more places where the peer may be. */
  addAddresses(addresses: readonly string[]): void {
    this.#wake(this.#where.add(addresses));
  }

  /**
   * Learns of ways to the peer that this node has made itself, or that lead through somebody else: they are dialed as addresses
   * are, now if they are better than the path in use, and no node is told of them. One that is added again is tried again.
   */
  addWays(ways: readonly string[]): void {
    this.#where.addWays(ways);
    this.#wake(ways);
  }

  /** They are dialed no more; a link that goes one of them stays. */
  removeWays(ways: readonly string[]): void {
    this.#where.removeWays(ways);
  }

  /** What `addWays` told, without those taken back by `removeWays`, and those for one use that failed. */
  get ways(): readonly string[] {
    return this.#where.ways;
  }

  /** The link in use is alive, and leads straight to the peer: nobody has to look for another way. */
  get isStraight(): boolean {
    return this.main.isUp && rankOf(this.path?.kind ?? "") <= STRAIGHT_RANK;
  }

  announce(): void {
    if (this.#isAnnounced) return;
    this.#isAnnounced = true;
    this.#home.announce(this);
  }

  /** The rank of the path on which a greeting for that lane is on its way. */
  greetedRank(lane: number): number | undefined {
    const address = this.#seekerFor(this.lane(lane)).greeted;
    return address === undefined ? undefined : rankOfAddress(address);
  }

  lane(lane: number): Session {
    return lane === LANE_BULK ? this.bulk : this.main;
  }

  /** The peer proved who it is and said where it listens. */
  meet(identity: VerifiedIdentity, { build, addresses }: { build: string; addresses: readonly string[] }): void {
    this.#identity = identity;
    this.serial = identity.serial;
    this.build = build;
    this.#where.tell(addresses);
  }

  get identity(): VerifiedIdentity | undefined {
    return this.#identity;
  }

  #wake(addresses: readonly string[]): void {
    this.#seekers.main.wake(addresses);
    if (!this.bulk.hasGoodLink) this.#seekers.bulk.wake(addresses);
  }

  #seekerFor(session: Session): Seeker {
    return session === this.bulk ? this.#seekers.bulk : this.#seekers.main;
  }

  #seekerOf(session: Session): Seeker {
    const isBulk = session === this.bulk;
    const options = {
      ...this.#home.seeking,
      addresses: (below: number) => (isBulk ? this.#addressesForBulk(below) : this.#where.below(below)),
      limitMs: (failures: number) => roundLimitMs(this.#tryOnce && !this.main.isConfirmed ? 0 : failures),
      expect: () => (this.#identity ? { ...this.#identity, node: this.node } : this.#expect),
    };
    return new Seeker(options, {
      greetingFor: ({ node }, address) => {
        if (!this.#home.bind(this, node)) return undefined;
        const { epoch } = this;
        const lane = isBulk ? LANE_BULK : LANE_MAIN;
        const ended = this.#home.endedWith(node);
        const words = { to: node, lane, epoch, generation: session.generation, ended };
        return { ...words, addresses: [...this.#home.addresses()], way: kindOf(address) };
      },
      welcomed: (welcomed, end, address) => this.#welcomed(session, welcomed, end, address),
      failed: (failures, isClimbing) => this.#roundFailed(session, failures, isClimbing),
      // The other side may be able to dial, and need not wait for the end of this round.
      slow: (isClimbing) => {
        if (!isBulk) this.#askForIntroduction(isClimbing);
        else if (!isClimbing) this.main.askForBulk();
      },
    });
  }

  /** The bulk lane goes first where the main lane went. While it has a link, it follows the main lane to better paths. */
  #addressesForBulk(below: number): string[] {
    const first = this.main.hasOwnLink && rankOfAddress(this.main.address) < below ? [this.main.address] : [];
    return this.bulk.hasGoodLink ? first : [...new Set([...first, ...this.#where.below(below)])];
  }

  #welcomed(session: Session, { identity, fields }: Welcomed, end: LinkEnd, address: string): void {
    if (fields.epoch !== this.epoch) throw new Refusal("MALFORMED", "it welcomed to another session");
    this.meet(identity, fields);
    this.#failed.forget();
    this.#where.reached(address);
    const { generation, taken, allowedBytes } = fields;
    session.adopt({ end, isOwn: true, address, generation, ack: { taken, allowedBytes } });
  }

  #roundFailed(session: Session, failures: DialFailure[], isClimbing: boolean): void {
    this.#where.failed(failures);
    const verdict = failures.map(({ error }) => error).find(isVerdict);
    if (verdict?.refusal === "GONE") this.main.gone(verdict.taken, verdict.message);
    if (verdict || this.isOver) return;
    if (session === this.main) this.#mainRoundFailed(failures, isClimbing);
    else if (!isClimbing) this.main.askForBulk();
  }

  #mainRoundFailed(failures: readonly DialFailure[], isClimbing: boolean): void {
    const { isConfirmed } = this.main;
    const end = isClimbing ? undefined : this.#failed.judge(failures, { isConfirmed, ...this.state });
    if (end) this.main.stop(end);
    else this.#askForIntroduction(isClimbing);
  }

  /** Asks others for a way to it; while there is a link, for a better one than by way of others. */
  #askForIntroduction(isClimbing: boolean): void {
    if (isClimbing && rankOfAddress(this.main.address) <= PUNCH_RANK) return;
    const now = this.#home.lanes.clock.now();
    const why = isClimbing ? "climbing" : "seeking";
    if (this.node === 0 || now - this.#introducedAt[why] < INTRODUCE_EVERY_MS) return;
    this.#introducedAt[why] = now;
    this.#home.introduce(this.info);
  }

  #expired(session: Session): MeshError | undefined {
    const seconds = this.#home.lanes.timing.downAfterMs / 1_000;
    if (session === this.main) {
      return this.main.isConfirmed
        ? this.#failed.lost(`it did not answer for ${seconds} s`)
        : this.#failed.unreachable();
    }
    // While the main lane has trouble of its own, that decides.
    return this.main.isUp
      ? this.#failed.lost(`its second link, for bulk, cannot be made or does not answer`)
      : undefined;
  }

  readonly #owner: SessionOwner = {
    seek: (session) => (session === this.main ? this.#seekMain() : this.#seekBulk()),
    settle: (session) => {
      const seeker = this.#seekerFor(session);
      seeker.settle();
      if (session.hasGoodLink) seeker.climb();
    },
    confirmed: (session) => this.#confirmed(session),
    peerWantsBulk: () => this.bulk.want("the other side needs it"),
    mayEnd: () => {
      if (this.bulk.isSettled || this.bulk.isOver) return true;
      this.bulk.askForAck();
      return false;
    },
    progressed: (session) => {
      if (session === this.bulk) this.main.mayEnd();
    },
    expired: (session) => this.#expired(session),
    // Where it listens itself: elsewhere a router answers, which knows nothing of it.
    doubted: (session) => {
      if (this.addresses.includes(session.address)) session.probe();
    },
    unlinked: () => this.#home.pathChanged(this),
    ended: (session, error) => this.#ended(session, error),
  };

  #seekMain(): void {
    const { main } = this;
    this.#seekers.main.seek(main.generation > 0 && !main.wasOwnLink);
    const isBad = main.phase === "suspect" || rankOfAddress(main.address) > STRAIGHT_RANK;
    if (main.isConfirmed && isBad) this.#askForIntroduction(false);
  }

  #seekBulk(): void {
    const { main } = this;
    if (!main.isConfirmed) return;
    // Where the peer had to make a hole or a detour, it is the one that can again, and goes first: what this side knows may be worse.
    const peerDials = !main.wasOwnLink && rankOfAddress(main.address) > STRAIGHT_RANK;
    if (peerDials) main.askForBulk();
    this.#seekers.bulk.seek(peerDials);
  }

  #confirmed(session: Session): void {
    const { main, bulk } = this;
    this.#seekerFor(session).linked(rankOfAddress(session.address));
    if (session === main) {
      this.#introducedAt.seeking = Number.NEGATIVE_INFINITY; // whatever is lost from now on is another loss
      this.announce();
    }
    this.#home.pathChanged(this);
    if (session !== main) return;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
    if (bulk.phase === "connecting") this.#seekBulk();
    else if (main.hasOwnLink) this.#seekers.bulk.wake([main.address]);
  }

  #ended(session: Session, error: Error | undefined): void {
    if (session === this.bulk) {
      // What was to go over it is lost, so the session is.
      if (!this.main.isOver)
        this.main.fail(error ?? ended(this.name), isMeshError(error, "PROTOCOL") ? "PROTOCOL" : "ERROR");
      return;
    }
    this.error = error;
    for (const seeker of Object.values(this.#seekers)) seeker.settle();
    this.bulk.stop(error);
    this.#home.ended(this);
    for (const { reject } of this.#waiting.splice(0)) reject(error ?? ended(this.name));
    this.#whenOver.resolve();
  }
}

function ended(name: string): MeshError {
  return new MeshError("LINK_CLOSED", `the session with node ${name} was closed`);
}

function pathOf({ address, linkedForMs, status }: Session): Path | undefined {
  if (address === "") return undefined;
  const local = /\?from=(\d+)$/.exec(address)?.[1];
  const path = { kind: kindOf(address), address: shownAddress(address), rttMs: status.rttMs, sinceMs: linkedForMs };
  return local === undefined ? path : { ...path, local };
}
