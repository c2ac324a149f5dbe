// What a node tells of how it reaches others: shortly with every report, and at length when somebody asks.
import type { Clock } from "../clock.ts";
import type { PathInfo } from "../coordinator/answers.ts";
import { REPORTED_PEERS, type Report } from "../coordinator/bodies.ts";
import {
  ADDRESS_LIMIT_CHARS,
  CANDIDATES_LIMIT,
  type ExplainPath,
  type NatReport,
  type PairReport,
  type PathReport,
  WHY_LIMIT_CHARS,
} from "../coordinator/path-report.ts";
import { MeshError } from "../errors.ts";
import type { Meetings } from "../meeting/meetings.ts";
import type { ReachedRendezvous } from "../meeting/places.ts";
import { examineNat } from "../punch/echo-client.ts";
import { rankOf, shownAddress } from "../session/machine/ladder.ts";
import type { Path, PeerSession } from "../session/peer-session.ts";
import type { Peers } from "../session/peers.ts";
import { cut, reasonOf, whyNotBetter } from "./why-not-better.ts";

/** What a NAT may take to answer; see examineNat. */
const NAT_LIMIT_MS = 1_500;
/** A peer that there is no session with yet is tried for so long; and then for its better addresses to fail. */
const REACH_LIMIT_MS = 8_000;
const LOOK_MS = 100;

export interface PathReporterOptions {
  peers: Pick<Peers, "all" | "get">;
  meetings: Pick<Meetings, "places" | "last">;
  clock: Clock;
  /** Begins a session with that node, if it is in the mesh. */
  dial(node: number): void;
}

export class PathReporter {
  readonly #options: PathReporterOptions;
  /** Under way: who asks meanwhile gets the same. */
  #nat: Promise<Pick<PathReport, "nat" | "rendezvous">> | undefined;

  constructor(options: PathReporterOptions) {
    this.#options = options;
  }

  /** For the coordinator: at most REPORTED_PEERS. Commands of users come and go, and are nobody's peers. */
  get peers(): Report["peers"] {
    const nodes = this.#options.peers.all().filter(({ role }) => role !== "client");
    return nodes.slice(0, REPORTED_PEERS).map((session) => {
      const path = this.#pathOf(session);
      const { kind = "none", ...rest } = path ?? {};
      return { node: session.node, state: stateOf(session), path: kind, ...rest };
    });
  }

  /** For `mesh status`; undefined while there is none. */
  pathTo(node: number): PathInfo | undefined {
    const session = this.#options.peers.get(node);
    const path = session && this.#pathOf(session);
    return path && { ...path, address: path.address ?? null, rttMs: path.rttMs ?? null, why: path.why ?? null };
  }

  /**
   * Looks at the routers before this node, and at the peer that was asked for; one that there is no session with is dialed for
   * that. Takes up to 10 s. Throws UNREACHABLE for a node that is not in the mesh.
   */
  async explain({ node }: ExplainPath): Promise<PathReport> {
    const [nat, to] = await Promise.all([this.natAndRendezvous(), node === undefined ? undefined : this.#pair(node)]);
    return { ...nat, ...(to && { to }) };
  }

  /** What the routers before this node do, and which rendezvous it reaches. Never rejects. */
  natAndRendezvous(): Promise<Pick<PathReport, "nat" | "rendezvous">> {
    this.#nat ??= this.#askPlaces().finally(() => {
      this.#nat = undefined;
    });
    return this.#nat;
  }

  async #askPlaces(): Promise<Pick<PathReport, "nat" | "rendezvous">> {
    const reached = await this.#options.meetings.places.reached().catch(() => []);
    return { nat: await natOf(reached), rendezvous: reached.slice(0, 16).map(({ name }) => name) };
  }

  async #pair(node: number): Promise<PairReport> {
    const session = await this.#reach(node);
    const path = this.#pathOf(session);
    return {
      node,
      name: session.name,
      state: stateOf(session),
      path: path ?? null,
      candidates: candidatesOf(session),
      meeting: this.#meetingWith(node),
    };
  }

  async #reach(node: number): Promise<PeerSession> {
    const { peers, dial } = this.#options;
    dial(node);
    const session = peers.get(node);
    if (!session) throw new MeshError("UNREACHABLE", `node ${node} is not in the mesh, as far as is known here`);
    await this.#settled(session);
    return session;
  }

  /** Reached by the best kind of path; or by another, and it is known why; or not within the time for that. */
  async #settled(session: PeerSession): Promise<void> {
    const { clock } = this.#options;
    const until = clock.now() + REACH_LIMIT_MS;
    while (clock.now() < until && !session.isOver && !isSettled(session)) {
      await new Promise<void>((resolve) => clock.after(LOOK_MS, resolve));
    }
  }

  #meetingWith(node: number): PairReport["meeting"] {
    const last = this.#options.meetings.last(node);
    if (!last) return null;
    const { atMs, words, notRelayed, ownMapping, theirMapping } = last;
    return {
      agoMs: this.#options.clock.now() - atMs,
      words: cut(words, WHY_LIMIT_CHARS),
      ...(notRelayed !== undefined && { notRelayed: cut(notRelayed, WHY_LIMIT_CHARS) }),
      ...(ownMapping && { ownMapping }),
      ...(theirMapping && { theirMapping }),
    };
  }

  /** The path in use, or the one before. */
  #pathOf(session: PeerSession): NonNullable<PairReport["path"]> | undefined {
    const { path, node, failedPaths } = session;
    if (!path) return undefined;
    const { kind, rttMs, sinceMs } = path;
    const why = whyNotBetter({ kind, failedPaths, meeting: this.#options.meetings.last(node) });
    return {
      kind,
      ...(isOwnSplice(session, path) ? {} : { address: addressOf(path.address) }),
      ...(rttMs !== undefined && { rttMs }),
      sinceMs,
      ...(why !== undefined && { why }),
    };
  }
}

function isSettled(session: PeerSession): boolean {
  const { path, isUp, isStraight, failedPaths } = session;
  if (!isUp || !path || isStraight) return isUp && isStraight;
  const isOld = path.sinceMs >= REACH_LIMIT_MS;
  return isOld || failedPaths.some(({ kind }) => rankOf(kind) < rankOf(path.kind));
}

/** Who did not dial a relay by TCP sees connections of itself alone, which it has spliced to those of the relay. */
function isOwnSplice({ ways }: PeerSession, { kind, address }: Path): boolean {
  return kind === "tcprelay" && !ways.some((way) => shownAddress(way) === address);
}

function stateOf({ state: { phase } }: PeerSession): "up" | "suspect" | "down" {
  return phase === "up" || phase === "suspect" ? phase : "down";
}

/** All that is known, and what did not answer besides: ways that were given up. */
function candidatesOf(session: PeerSession): PairReport["candidates"] {
  const failed = new Map(
    session.failedPaths.map(({ address, error, agoMs }) => [
      addressOf(address),
      { agoMs, error: cut(reasonOf({ address, error }), WHY_LIMIT_CHARS) },
    ]),
  );
  const known = [...session.addresses, ...session.ways].map(addressOf);
  return [...new Set([...known, ...failed.keys()])].slice(0, CANDIDATES_LIMIT).map((address) => {
    const failure = failed.get(address);
    return { address, ...(failure && { failed: failure }) };
  });
}

async function natOf(reached: readonly ReachedRendezvous[]): Promise<NatReport | null> {
  const places = reached.flatMap(({ echoes }) => echoes);
  if (places.length === 0) return { mapping: "unknown", filtering: "unknown", outside: [], places: 0 };
  try {
    const { mapping, filtering, outside } = await examineNat(places, { limitMs: NAT_LIMIT_MS });
    return { mapping, filtering, outside: outside.slice(0, 8), places: places.length };
  } catch {
    return null;
  }
}

function addressOf(address: string): string {
  return cut(shownAddress(address), ADDRESS_LIMIT_CHARS);
}
