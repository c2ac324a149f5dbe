// All sessions of one node: at most one with each other node, whoever dialed first. The loop at the edge of core/session:
// it gets links, dials for more, and keeps what must outlive a session. It must not know what frames mean.
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { DialOptions, Link } from "../transport.ts";
import { Codec } from "../wire/codec.ts";
import { type Acceptance, AcceptorHandshake, type Greeted } from "./acceptor.ts";
import { Admission, type AdmissionLimits, DEFAULT_ADMISSION } from "./admission.ts";
import type { Expectation } from "./dialer.ts";
import { EndedSessions } from "./ended-sessions.ts";
import { LANE_BULK, LANE_MAIN } from "./greeting.ts";
import type { HandshakeContext, OwnIdentity, Self, VerifiedIdentity } from "./handshake.ts";
import { rankOf } from "./machine/ladder.ts";
import { DEFAULT_TIMING, type Timing } from "./machine/liveness.ts";
import { isDuplicate, nextGeneration } from "./machine/which-link.ts";
import { type PeerInfo, PeerSession, type SessionHome } from "./peer-session.ts";
import { Refusal, SPOKEN } from "./refusal.ts";
import { DEFAULT_LIMITS, type SessionLimits } from "./session.ts";

export interface PeersOptions {
  self: Self;
  /** Where this node listens, told to every peer. */
  addresses(): readonly string[];
  /** What to show of itself; asked again for every link, so it may be renewed. */
  identity(): OwnIdentity;
  /** Throws AUTHENTICATION, saying why, when a certificate (DER) is not to be trusted. */
  verify(certificate: Uint8Array): VerifiedIdentity;
  verifySignature(certificate: Uint8Array, bytes: Uint8Array, signature: Uint8Array): boolean;
  dial(address: string, options: DialOptions): Promise<Link>;
  /** The addresses to dial for those of a peer, best first; more than those when there are other ways to it. Default: those. */
  waysTo?(addresses: readonly string[]): readonly string[];
  clock: Clock;
  /** From 0 up to 1. */
  random(): number;
  /** Called once for each session, whoever began it, before its first frame: attach handlers here. */
  onSession(session: PeerSession): void;
  /** Called when a session that was told to `onSession` is over, with `session.error` saying why. */
  onEnded?(session: PeerSession): void;
  /** Called with every link or peer that was refused, on either side. */
  onRefused?(error: MeshError): void;
  /** Asks third nodes for a way to that peer, which cannot be dialed, or not well. */
  introduce?(peer: PeerInfo): void;
  /** `session.paths` has changed: one of its lanes goes over another link than before, or has none. */
  onPathChanged?(session: PeerSession): void;
  /** Admits links without a certificate for one frame, a join: the bytes are valid during the call. */
  strangers?: { ca(): string; joins(link: Link, frame: Uint8Array): void };
  timing?: Partial<Timing>;
  limits?: Partial<SessionLimits>;
  admission?: Partial<AdmissionLimits>;
  /** How long a handshake may take. Default 5,000. */
  handshakeMs?: number;
  /** How long a peer may take to confirm the end of a session. Default 3,000. */
  closeTimeoutMs?: number;
  /** A bulk lane's link is given up after so long without data. Default 60,000. */
  bulkIdleMs?: number;
  /** Versions of the protocol that are spoken; for tests. */
  protocol?: readonly [number, number];
}

export interface ConnectOptions {
  /** Gives up after so long with TIMEOUT. Default: Timing.connectTimeoutMs, with UNREACHABLE. */
  timeoutMs?: number;
  /** Gives up with CANCELLED. */
  signal?: AbortSignal;
  /** Tries each address once instead of until the time is over. */
  once?: boolean;
}

export class Peers {
  readonly #options: PeersOptions;
  readonly #context: HandshakeContext;
  /** Of links that showed a certificate of the mesh, and of the others: strangers do not stand in the way of nodes. */
  readonly #admission: { nodes: Admission; strangers: Admission };
  readonly #home: SessionHome;
  readonly #sessions = new Map<number, PeerSession>();
  /** Begun by address, and not yet found out which node answers there. */
  readonly #searching = new Set<PeerSession>();
  /** Of sessions that lead to the same node as another: that other. */
  readonly #instead = new Map<PeerSession, PeerSession>();
  readonly #ended = new EndedSessions();
  #isRevoked: (identity: VerifiedIdentity) => boolean = () => false;
  #isClosing = false;
  #isFull = false;

  constructor(options: PeersOptions) {
    this.#options = options;
    const { self, clock, random, dial } = options;
    const codec = new Codec();
    this.#context = {
      ...{ clock, codec, self },
      dialect: { build: self.build, protocol: options.protocol ?? SPOKEN },
      handshakeMs: options.handshakeMs ?? 5_000,
      identity: () => options.identity(),
      verify: (certificate) => options.verify(certificate),
      verifySignature: (certificate, bytes, signature) => options.verifySignature(certificate, bytes, signature),
      isRevoked: (identity) => this.#isRevoked(identity),
    };
    const admission = { ...DEFAULT_ADMISSION, ...options.admission };
    this.#admission = { nodes: new Admission(admission, clock), strangers: new Admission(admission, clock) };
    this.#home = {
      self,
      seeking: { context: this.#context, dial: (address, how) => dial(address, how), random: () => random() },
      lanes: {
        ...{ clock, codec },
        timing: { ...DEFAULT_TIMING, ...options.timing },
        limits: { ...DEFAULT_LIMITS, ...options.limits },
        idleAfterMs: options.bulkIdleMs ?? 60_000,
        closeTimeoutMs: options.closeTimeoutMs ?? 3_000,
      },
      addresses: () => options.addresses(),
      waysTo: (addresses) => options.waysTo?.(addresses) ?? addresses,
      pathChanged: (session) => options.onPathChanged?.(session),
      endedWith: (node) => this.#ended.with(node),
      bind: (session, node) => this.#bind(session, node),
      announce: (session) => options.onSession(session),
      ended: (session) => this.#forget(session),
      introduce: (peer) => options.introduce?.(peer),
      refused: (error) => options.onRefused?.(error),
    };
  }

  /** Takes a link that somebody dialed. */
  accept(link: Link): void {
    const isStranger = link.tls !== undefined && link.tls.peerCertificate === undefined;
    let handshake: AcceptorHandshake | undefined;
    const leave = this.#admission[isStranger ? "strangers" : "nodes"].enter(link.label, () =>
      handshake?.refuse(new Refusal("LIMIT", `${link.label} said nothing yet, and others need its place`)),
    );
    if (!leave) {
      this.#turnAway(link);
      return;
    }
    this.#isFull = false;
    const { strangers } = this.#options;
    handshake = new AcceptorHandshake(
      this.#context,
      link,
      {
        greeted: (greeted) => this.#greeted(greeted, link.label),
        joins: strangers && ((from, frame) => strangers.joins(from, frame)),
        over: (refusal) => {
          leave();
          if (refusal) this.#noteRefused(refusal, link);
        },
      },
      strangers?.ca(),
    );
    if (this.#isClosing) handshake.refuse(closing(this.#options.self.name));
  }

  /**
   * Finds out who listens on one of `addresses`, and resolves with the session once that is up. Tries until the time is
   * over. Rejects with UNREACHABLE, AUTHENTICATION or PROTOCOL, saying what was tried, TIMEOUT or CANCELLED.
   */
  async connect(addresses: readonly string[], expect: Expectation, options: ConnectOptions = {}): Promise<PeerSession> {
    if (this.#isClosing) throw closing(this.#options.self.name);
    if (options.signal?.aborted) throw cancelled(addresses, options.signal);
    const known = expect.node === undefined ? undefined : this.#sessions.get(expect.node);
    if (known) known.addAddresses(addresses);
    const session = known ?? new PeerSession(this.#home, expect, { addresses, tryOnce: options.once ?? false });
    if (!known) {
      this.#searching.add(session);
      session.begin();
    }
    const reached = this.#reached(session, expect);
    reached.catch(() => {}); // told below, unless something else was first
    return await this.#limited(reached, session, addresses, options);
  }

  /** The session with that peer, at once: what is sent waits until it is reached. Begins one if there is none. */
  to(peer: PeerInfo): PeerSession {
    const known = this.#sessions.get(peer.node);
    const { node, name, role, addresses } = peer;
    const session = known ?? new PeerSession(this.#home, { node, name, role }, { addresses });
    if (known) known.addAddresses(addresses);
    else if (this.#isClosing) session.main.stop(closing(this.#options.self.name));
    else {
      this.#sessions.set(node, session);
      session.begin();
    }
    session.announce();
    return session;
  }

  /** The session with that node, if there is one that is not over. */
  get(node: number): PeerSession | undefined {
    const session = this.#sessions.get(node);
    return session?.isAnnounced ? session : undefined;
  }

  all(): PeerSession[] {
    return [...this.#sessions.values()].filter((session) => session.isAnnounced);
  }

  /** Ends the sessions of revoked peers, and refuses those from now on. */
  revoke(isRevoked: (serial: string, name: string, notBefore: number) => boolean): void {
    this.#isRevoked = ({ serial, name, notBefore }) => isRevoked(serial, name, notBefore);
    for (const session of [...this.#sessions.values()]) {
      const { identity } = session;
      if (!identity || !this.#isRevoked(identity)) continue;
      const error = new MeshError("AUTHENTICATION", `the certificate of ${identity.name} was revoked`);
      session.main.fail(error, "REVOKED");
    }
  }

  /** Says goodbye to all, once they have got what was sent to them, and takes no more links. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const session of [...this.#searching]) session.main.stop(closing(this.#options.self.name));
    await Promise.all([...this.#sessions.values()].map((session) => session.close()));
  }

  async #reached(session: PeerSession, expect: Expectation): Promise<PeerSession> {
    try {
      await session.whenUp();
      checkMeant(session, expect);
      return session;
    } catch (error) {
      const other = this.#instead.get(session);
      if (!other) throw error;
      return await this.#reached(other, expect);
    }
  }

  async #limited(
    reached: Promise<PeerSession>,
    session: PeerSession,
    addresses: readonly string[],
    { timeoutMs, signal }: ConnectOptions,
  ): Promise<PeerSession> {
    const limit = Promise.withResolvers<never>();
    const giveUp = (error: MeshError) => {
      limit.reject(error);
      if (session.isBegunHere && !session.isAnnounced) session.main.stop(error);
    };
    const where = addresses.join(", ");
    const late = () => giveUp(new MeshError("TIMEOUT", `no node answered within ${timeoutMs} ms on ${where}`));
    const timer = timeoutMs === undefined ? undefined : this.#options.clock.after(timeoutMs, late);
    const abort = () => giveUp(cancelled(addresses, signal));
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([reached, limit.promise]);
    } finally {
      timer?.cancel();
      signal?.removeEventListener("abort", abort);
      this.#instead.delete(session);
    }
  }

  #bind(session: PeerSession, node: number): boolean {
    const { self } = this.#options;
    if (node === self.node) throw new Refusal("IDENTITY", `that is this node, ${self.name}, itself`);
    if (session.node === node && this.#sessions.get(node) === session) return true;
    const other = this.#sessions.get(node);
    if (other) {
      this.#instead.set(session, other);
      other.addAddresses(session.addresses);
      other.addWays(session.ways);
      session.main.stop(undefined);
      return false;
    }
    this.#searching.delete(session);
    if (this.#sessions.get(session.node) === session) this.#sessions.delete(session.node);
    session.node = node;
    this.#sessions.set(node, session);
    return true;
  }

  #forget(session: PeerSession): void {
    this.#searching.delete(session);
    if (this.#sessions.get(session.node) === session) this.#sessions.delete(session.node);
    if (session.main.generation > 0) {
      const reason = session.error?.message ?? "it was closed";
      this.#ended.add({ node: session.node, epoch: session.epoch, taken: session.main.received, reason });
    }
    const { error, isAnnounced, isBegunHere } = session;
    if (isAnnounced) this.#options.onEnded?.(session);
    else if (!isBegunHere && error instanceof Refusal) this.#options.onRefused?.(error); // it did not like our welcome
  }

  /** Somebody proved who it is, and names a session. Throws a Refusal. */
  #greeted({ identity, fields, version }: Greeted, label: string): Acceptance {
    const session = fields.lane === LANE_BULK ? this.#sessionForBulk(fields) : this.#sessionFor(identity, fields);
    const lane = session.lane(fields.lane);
    const { self } = this.#options;
    const ranks = { greetedRank: session.greetedRank(fields.lane), peerRank: rankOf(fields.way ?? "") };
    const generations = { sharedGeneration: lane.sharedGeneration, peerGeneration: fields.generation };
    if (isDuplicate({ ownNode: self.node, peerNode: fields.node, ...ranks, ...generations }))
      throw duplicate(self.name);
    if (fields.lane === LANE_MAIN) this.#sessions.set(fields.node, session);
    if (!session.main.isConfirmed) session.epoch = fields.epoch;
    session.meet(identity, fields);
    const generation = nextGeneration(lane.generation, fields.generation);
    const { epoch } = session;
    const { build, node } = self;
    const addresses = [...this.#options.addresses()];
    const welcome = { version, build, node, epoch, generation, addresses };
    return {
      fields: { ...welcome, taken: lane.received, allowedBytes: lane.allow() },
      adopt: (end) => lane.adopt({ end, isOwn: false, address: labelOf(label, fields.way), generation }),
    };
  }

  /** The session that a greeting for the main lane is about: one there is, or a new one. */
  #sessionFor(identity: VerifiedIdentity, fields: Greeted["fields"]): PeerSession {
    const { node, epoch, ended, generation } = fields;
    const over = this.#ended.get(epoch);
    if (over) throw gone(over.reason, over.taken);
    const session = this.#sessions.get(node);
    if (session && (session.epoch === epoch || !session.main.isConfirmed)) return meant(session, identity);
    // Sent before the peer agreed on the session there is: it knows better by now.
    if (session && !ended.includes(session.epoch)) throw duplicate(this.#options.self.name);
    session?.main.gone(undefined, "it began another one");
    if (generation > 0) throw gone("it is not known here", undefined);
    if (this.#isClosing) throw closing(this.#options.self.name);
    return new PeerSession(this.#home, { node, name: identity.name, role: identity.role }, { epoch });
  }

  #sessionForBulk({ node, epoch }: Greeted["fields"]): PeerSession {
    const session = this.#sessions.get(node);
    if (session && session.epoch === epoch && session.main.generation > 0) return session;
    const over = this.#ended.get(epoch);
    throw gone(over?.reason ?? "it is not known here", over?.taken);
  }

  #turnAway(link: Link): void {
    const error = new Refusal("LIMIT", `too many links say nothing yet: ${link.label} was sent away`);
    link.destroy(error);
    if (!this.#isFull) this.#options.onRefused?.(error); // once for a flood
    this.#isFull = true;
  }

  #noteRefused(refusal: Refusal, { label }: Link): void {
    const { refusal: code, isRemote, message } = refusal;
    if (code === "DUPLICATE" || code === "GONE") return; // these happen when all is well
    const words = isRemote ? `${label} went away: ${message}` : `${label} was refused: ${message}`;
    this.#options.onRefused?.(new MeshError(refusal.code, words, { cause: refusal }));
  }
}

function meant(session: PeerSession, identity: VerifiedIdentity): PeerSession {
  const { name, role } = identity;
  if (session.mayBe(identity)) return session;
  throw new Refusal("IDENTITY", `node ${session.node} is ${session.name}, not the ${role} ${name}`);
}

function checkMeant(session: PeerSession, { name, role }: Expectation): void {
  const isMeant = (name ?? session.name) === session.name && (role ?? session.role) === session.role;
  if (isMeant) return;
  const wanted = [role, name].filter((word) => word !== undefined).join(" ");
  throw new MeshError("AUTHENTICATION", `the ${wanted} was dialed, and the ${session.role} ${session.name} answered`);
}

/** Where a link comes from that was dialed by that way: only who dials knows that it goes through a tunnel. */
function labelOf(label: string, way: string | undefined): string {
  return way === undefined ? label : label.replace(/^[a-z]+(?=:)/, way);
}

function duplicate(name: string): Refusal {
  return new Refusal("DUPLICATE", `${name} keeps the link that it dialed itself`);
}

function gone(reason: string, taken: number | undefined): Refusal {
  return new Refusal("GONE", reason, taken === undefined ? {} : { taken });
}

function closing(name: string): Refusal {
  return new Refusal("CLOSING", `${name} is ending`);
}

function cancelled(addresses: readonly string[], signal: AbortSignal | undefined): MeshError {
  return new MeshError("CANCELLED", `dialing ${addresses.join(", ")} was cancelled`, { cause: signal?.reason });
}
