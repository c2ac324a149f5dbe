// Finds ways to nodes that cannot simply be dialed: both learn at a rendezvous where the other's packets come from, and send at
// each other; where no hole can be made, the rendezvous forwards. What becomes of a way is the session's business.
import type { Clock, Timer } from "../clock.ts";
import { isMeshError, MeshError } from "../errors.ts";
import type { Log } from "../log.ts";
import { invited, relayed } from "../rendezvous/bodies.ts";
import type { PeerInfo, PeerSession } from "../session/peer-session.ts";
import type { Peers } from "../session/peers.ts";
import type { MeshTransport } from "../transport.ts";
import { checkBody } from "../wire/body-checks.ts";
import { MessageType } from "../wire/message-types.ts";
import { Holes } from "./holes.ts";
import { type MeetingOptions, type MeetingOutcome, meetAt } from "./meeting.ts";
import { Places } from "./places.ts";
import { RelayWays } from "./relay-ways.ts";

/** Routers that cannot be got through are asked again after this. */
const FINAL_FOR_MS = 600_000;
/** Meetings from which on no invitation is followed: each has a port, and an inviter may be a liar. */
const MOST_AT_ONCE = 256;
/** How often it is looked whether a rendezvous is still there. */
const LOOK_MS = 200;

export interface MeetingsOptions extends Omit<MeetingOptions, "holes" | "relays"> {
  peers: Pick<Peers, "get" | "to" | "accept">;
  /** The rendezvous of the mesh, best first. */
  known(): readonly PeerInfo[] | Promise<readonly PeerInfo[]>;
  transport: MeshTransport;
  log: Log;
}

/** The last meeting with a node, `atMs` by the clock of MeetingsOptions. */
export type LastMeeting = MeetingOutcome & {
  atMs: number;
  /** Why the rendezvous does not forward between the two. */
  notRelayed?: string | undefined;
};

export class Meetings {
  readonly places: Places;
  readonly #options: MeetingsOptions;
  readonly #holes: Holes;
  readonly #relays: RelayWays;
  readonly #underWay = new Map<PeerSession, AbortController>();
  /** Of which the end is waited for: once, however often their peers are met. */
  readonly #watched = new WeakSet<PeerSession>();
  readonly #last = new Map<number, LastMeeting>();
  #isClosed = false;

  constructor(options: MeetingsOptions) {
    const { node, peers } = options;
    this.#options = options;
    this.places = new Places(options);
    this.#holes = new Holes({ ...options, accept: (link) => peers.accept(link) });
    this.#relays = new RelayWays({ ...options, places: this.places });
    node.handle(MessageType.invited, ({ payload, fromNode }) => {
      const { node: number, name, role } = checkBody(invited, "invited", node.codec.decode(payload));
      if (this.#underWay.size >= MOST_AT_ONCE) return; // the other asks again
      this.#begin(peers.to({ node: number, name, role, addresses: [] }), fromNode);
    });
    node.handle(MessageType.relayed, ({ payload, fromNode }) => {
      const way = checkBody(relayed, "relayed", node.codec.decode(payload));
      const session = peers.get(way.node);
      if (session) void this.#relays.use(session, way, fromNode);
    });
  }

  /** Looks for a way to a peer, if it does not yet. What it finds, the peer's session gets. */
  seek(node: number): void {
    const { peers, clock } = this.#options;
    const session = peers.get(node);
    const last = this.#last.get(node);
    const isInVain = session?.isUp && last?.isFinal && clock.now() - last.atMs < FINAL_FOR_MS;
    if (session && !isInVain) this.#begin(session);
  }

  /** A session goes another way now: to be called for each that does. */
  pathChanged(session: PeerSession): void {
    if (session.isStraight) this.#underWay.get(session)?.abort();
  }

  /** What came of the last meeting with that node; undefined when there was none. */
  last(node: number): LastMeeting | undefined {
    const last = this.#last.get(node);
    const session = this.#options.peers.get(node);
    return last && { ...last, notRelayed: session && this.#relays.refusal(session) };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const abort of this.#underWay.values()) abort.abort();
    this.#relays.close();
    await this.#holes.close();
  }

  /** `at`: the rendezvous that invited this node. */
  #begin(session: PeerSession, at?: number): void {
    if (this.#underWay.has(session) || this.#isClosed || session.isOver || session.isStraight) return;
    const abort = new AbortController();
    this.#underWay.set(session, abort);
    this.#watch(session);
    void this.#meet(session, abort.signal, at)
      .catch((error): MeetingOutcome => ({ words: (error as Error).message, isFinal: false }))
      .then((outcome) => this.#note(session, outcome))
      .finally(() => this.#underWay.delete(session));
  }

  #watch(session: PeerSession): void {
    if (this.#watched.has(session)) return;
    this.#watched.add(session);
    void session.over.then(() => {
      this.#underWay.get(session)?.abort();
      this.#last.delete(session.node);
    });
  }

  async #meet(session: PeerSession, signal: AbortSignal, at: number | undefined): Promise<MeetingOutcome> {
    const options = { ...this.#options, holes: this.#holes, relays: this.#relays };
    let failure = new MeshError("UNREACHABLE", "no rendezvous of the mesh is reached from here");
    for (const rendezvous of await this.places.reached(at)) {
      if (rendezvous.node === session.node) continue;
      const silence = new Silence(() => this.#options.peers.get(rendezvous.node)?.isUp ?? false, this.#options.clock);
      try {
        return await meetAt(rendezvous, session, options, AbortSignal.any([signal, silence.signal]));
      } catch (error) {
        if (signal.aborted || !(silence.signal.aborted || isMeshError(error, "UNREACHABLE"))) throw error;
        failure = error as MeshError; // another rendezvous may live, and know the peer
      } finally {
        silence.close();
      }
    }
    throw failure;
  }

  #note(session: PeerSession, outcome: MeetingOutcome): void {
    const { clock, log } = this.#options;
    if (!session.isOver) this.#last.set(session.node, { ...outcome, atMs: clock.now() });
    const { words, ownMapping, theirMapping } = outcome;
    log.info("met", { node: session.name, outcome: words, own: ownMapping, theirs: theirMapping });
  }
}

/** Ends what waits for a rendezvous once that is not heard any more. */
class Silence {
  readonly #abort = new AbortController();
  readonly #isHeard: () => boolean;
  readonly #clock: Clock;
  #timer: Timer | undefined;

  constructor(isHeard: () => boolean, clock: Clock) {
    this.#isHeard = isHeard;
    this.#clock = clock;
    this.#look();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  close(): void {
    this.#timer?.cancel();
  }

  #look(): void {
    if (this.#isHeard()) this.#timer = this.#clock.after(LOOK_MS, () => this.#look());
    else this.#abort.abort(new MeshError("UNREACHABLE", "the rendezvous fell silent"));
  }
}
