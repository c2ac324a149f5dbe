// What a node needs to get through routers: a port of its own for each other node, opened outwards by both at the same moment.
import type { Mapping } from "../rendezvous/bodies.ts";

/** A place that tells who asks where its packets come from: a host that reaches a rendezvous, and what that answered. */
export interface EchoPlace {
  /** IP address of the rendezvous, as seen from here. */
  host: string;
  ports: readonly number[];
  id: Uint8Array;
  key: Uint8Array;
}

/** What is known of a UDP port before anything is sent to the other node. */
export interface OwnPlace {
  /** Where it may be reached, best first: addresses of this machine's interfaces, then those that echoes told. */
  candidates: string[];
  mapping: Mapping;
}

/** What both nodes were told when they met; see Met in core/rendezvous/bodies.ts. */
export interface Meeting {
  meeting: Uint8Array;
  key: Uint8Array;
  /** Both settle on the one way that the side which dials has chosen. */
  dials: boolean;
  /** Of the other. */
  candidates: readonly string[];
  mapping: Mapping;
}

/** A way there and back that was tried in both directions. The ports it was made with are closed: the caller binds that one. */
export interface Hole {
  /** UDP port of this machine, on all its addresses. */
  localPort: number;
  /** Where the other node's packets come from, as this machine sees it: "198.51.100.7:51820". */
  remote: string;
}

/** How long something is tried, and what ends it before, with CANCELLED. */
export interface TryOptions {
  signal?: AbortSignal;
  limitMs: number;
}

/** A UDP port that is to lead to one other node. */
export interface PunchPort extends AsyncDisposable {
  readonly place: OwnPlace;
  /**
   * Sends at the other node and listens, until there is a way or the time is over. Throws UNREACHABLE, saying what was tried,
   * when there is none; CANCELLED. Closes the port either way. Of `limitMs` no more is taken than the method is worth: 3 s, or
   * 10 s where many ports are tried; nothing where no way can be.
   */
  punch(meeting: Meeting, options: TryOptions): Promise<Hole>;
}
