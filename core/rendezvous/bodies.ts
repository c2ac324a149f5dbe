// What nodes ask of a rendezvous, and what it answers: the bodies of its messages, as schemas: neither side
// believes the other. A rendezvous keeps none of it longer than it takes two nodes to meet.
import * as z from "zod";
import { ROLES } from "../identity/names.ts";
import { bytes, name, nodeId, text, whole } from "../wire/body-checks.ts";

const port = () => whole(1, 65_535);
const exactly = (count: number) => bytes(count).refine(({ length }) => length === count, `expected ${count} bytes`);

/** So many addresses of its own a node may name. */
export const CANDIDATE_LIMIT = 32;

/**
 * How the routers before a node name its UDP ports outside, in RFC 4787's words: "none" leaves them as they are, "independent"
 * gives one outside port whoever is dialed, "dependent" another one for each; "blocked" lets no UDP through. "unknown": not asked.
 */
export const MAPPINGS = ["none", "independent", "dependent", "blocked", "unknown"] as const;
export type Mapping = (typeof MAPPINGS)[number];

/** node -> rendezvous, request: where may I learn my outside address; answered with MeetPlaces. */
export const meetPlaces = z.object({});

/** Answer to meetPlaces. */
export const placesAnswer = z.object({
  /** UDP ports that answer echoes (core/rendezvous/echo.ts); two, unless it has only one to give; none: it uses no UDP. */
  echoPorts: z.array(port()).max(2),
  /** Names the asker in its echoes. */
  id: exactly(16),
  /** Signs the asker's echoes. Good as long as its session with the rendezvous. */
  key: exactly(32),
});
export type MeetPlaces = z.infer<typeof placesAnswer>;

/** node -> rendezvous, request: I want to meet that node; answered with Met when it has asked for the same, TIMEOUT after 10 s. */
export const meet = z.object({
  node: nodeId(),
  /** Where it may be sent UDP packets now, best first: "10.0.0.5:40001", "[2001:db8::5]:40001". */
  candidates: z.array(text(64)).max(CANDIDATE_LIMIT),
  mapping: z.enum(MAPPINGS),
});
export type Meet = z.infer<typeof meet>;

/** Answer to meet, to both at the same moment. */
export const metAnswer = z.object({
  /** The same for both. */
  meeting: exactly(8),
  /** The same for both: signs the packets by which they find a way to each other. */
  key: exactly(32),
  /** Whether the one who reads this dials once there is a way; else it listens. */
  dials: z.boolean(),
  /** Of the other. */
  candidates: meet.shape.candidates,
  mapping: meet.shape.mapping,
});
export type Met = z.infer<typeof metAnswer>;

/** rendezvous -> node: that one wants to meet you; who it is stands in its certificate. */
export const invited = z.object({ node: nodeId(), name: name(), role: z.enum(ROLES) });
export type Invited = z.infer<typeof invited>;

/**
 * node -> rendezvous, request: forward between that node and me; answered with Relayed, of which the other gets one too.
 * Asking again for a pair that has a relay gives the same one.
 */
export const relay = z.object({ node: nodeId(), by: z.enum(["udp", "tcp"]) });
export type Relay = z.infer<typeof relay>;

/**
 * Where the reader finds the other: at an address of the rendezvous, on this port. By UDP it first echoes to that very port,
 * as to an echo port, from the port that it means to use: so the relay knows where it is. Without that, the relay takes packets
 * from IP addresses that the reader has echoed from before, to whichever port, and sends nothing before the first of them.
 * By TCP it says its token first, in each connection; each is joined to one of the other side, which may come within 60 s. Who
 * does not dial is told again whenever a connection of the other waits, and then makes one more.
 */
export const relayed = z.object({
  ...relay.shape,
  port: port(),
  /** By TCP only: the first that is sent there. The other side's is another one. */
  token: exactly(16).optional(),
  dials: z.boolean(),
});
export type Relayed = z.infer<typeof relayed>;
