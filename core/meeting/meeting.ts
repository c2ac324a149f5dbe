// One meeting of two nodes that cannot simply be dialed: what happens in which order.
import type { Clock } from "../clock.ts";
import type { Node } from "../node/node.ts";
import type { OwnPlace, PunchPort } from "../punch/hole.ts";
import { prospectsOf } from "../punch/prospects.ts";
import { openPunchPort } from "../punch/punch-port.ts";
import { type Mapping, type Meet, type Met, metAnswer } from "../rendezvous/bodies.ts";
import type { PeerSession } from "../session/peer-session.ts";
import { checkBody } from "../wire/body-checks.ts";
import { MessageType } from "../wire/message-types.ts";
import type { Holes } from "./holes.ts";
import type { ReachedRendezvous } from "./places.ts";
import type { RelayWays } from "./relay-ways.ts";

/** How long the rendezvous may take to say what a port looks like from outside. */
const ECHO_LIMIT_MS = 1_000;
/** A rendezvous waits 10 s for the other to come. */
const MEET_LIMIT_MS = 12_000;
/** Longer than any way of trying is worth. */
const PUNCH_LIMIT_MS = 12_000;
/** A node that is not reached by then is relayed, while the search goes on. */
const RELAY_AFTER_MS = 400;

const NO_UDP = "this node does not listen on UDP";

export interface MeetingOptions {
  node: Node;
  holes: Holes;
  relays: RelayWays;
  clock: Clock;
  /** Where this node listens by that scheme; undefined where it does not. */
  listener(scheme: string): string | undefined;
}

/** What came of a meeting. */
export interface MeetingOutcome {
  /** For people. */
  words: string;
  /** Undefined when it was not even found out. */
  ownMapping?: Mapping;
  theirMapping?: Mapping;
  /** No other try would end better, as long as the routers stay what they are. */
  isFinal: boolean;
}

/** Throws UNREACHABLE when the peer is not known at that rendezvous, TIMEOUT when it does not come, CANCELLED, PROTOCOL. */
export async function meetAt(
  { node: rendezvous, echoes, usesUdp }: ReachedRendezvous,
  session: PeerSession,
  { node, holes, relays, clock, listener }: MeetingOptions,
  signal: AbortSignal,
): Promise<MeetingOutcome> {
  await using port = listener("udp") ? await openPunchPort(echoes, { signal, limitMs: ECHO_LIMIT_MS }) : undefined;
  const own: OwnPlace = port?.place ?? { candidates: [], mapping: "blocked" };
  const body: Meet = { node: session.node, ...own };
  const options = { timeoutMs: MEET_LIMIT_MS, signal, keepsProcess: false };
  const answer = await node.request({ node: rendezvous, slot: 0 }, MessageType.meet, body, options);
  const met: Met = checkBody(metAnswer, "the answer to meet", answer);
  const mappings = { ownMapping: own.mapping, theirMapping: met.mapping };
  const by = usesUdp && !Object.values(mappings).includes("blocked") ? "udp" : "tcp";
  const relay = () => {
    if (met.dials && !session.isUp) void relays.ask(rendezvous, session, by);
  };
  if (!port) {
    relay();
    return { words: NO_UDP, isFinal: true }; // says nothing of routers
  }
  const prospects = prospectsOf(own, met);
  if ("why" in prospects) {
    relay();
    return { words: prospects.why, ...mappings, isFinal: true };
  }
  const timer = clock.after(RELAY_AFTER_MS, relay);
  const words = await punch(port, met, session, holes, signal);
  timer.cancel();
  return { words, ...mappings, isFinal: false };
}

/** What came of it, for people. */
async function punch(
  port: PunchPort,
  met: Met,
  session: PeerSession,
  holes: Holes,
  signal: AbortSignal,
): Promise<string> {
  try {
    const hole = await port.punch(met, { signal, limitMs: PUNCH_LIMIT_MS });
    await holes.use(session, hole, met.dials);
    return `a hole to ${hole.remote}`;
  } catch (error) {
    return (error as Error).message;
  }
}
