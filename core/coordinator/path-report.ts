// How a node reaches another one, as it tells itself: the bodies of explainPath, as schemas and as types. What comes of them
// passes through the coordinator, which trusts no node with more than these sizes.
import * as z from "zod";
import { MAPPINGS } from "../rendezvous/bodies.ts";
import { duration, measure, name, nodeId, words } from "../wire/body-checks.ts";

const HOUR_MS = 3_600_000;
export const ADDRESS_LIMIT_CHARS = 255;
export const WHY_LIMIT_CHARS = 200;
/** So many addresses of a peer are told of; an answer stays under 16 KiB. */
export const CANDIDATES_LIMIT = 16;
const OUTSIDE_LIMIT = 8;
const RENDEZVOUS_LIMIT = 16;

const address = words(ADDRESS_LIMIT_CHARS);
const why = words(WHY_LIMIT_CHARS);
const mapping = z.enum(MAPPINGS);

/**
 * user -> coordinator, request: have that node say how it reaches another one; answered with PathReport, UNREACHABLE when either is
 * not in the mesh. coordinator -> that node: the same, without `from`.
 */
export const explainPath = z.object({
  /** Who is to say it; missing: who reads this. */
  from: z.exactOptional(nodeId()),
  /** Who is to be reached; missing: only what is known of the routers before the asked node. */
  node: z.exactOptional(nodeId()),
});
export type ExplainPath = z.infer<typeof explainPath>;

/** Where packets go, and why not a better way. */
const pathInUse = z.object({
  /** The scheme of the address that was dialed, by whichever side: "tcp", "punch". */
  kind: words(64),
  /** Missing where only the other side, which dialed, knows. */
  address: z.exactOptional(address),
  /** Missing: not measured yet. */
  rttMs: z.exactOptional(measure(HOUR_MS)),
  /** How long it has been in use. */
  sinceMs: duration(Number.MAX_SAFE_INTEGER),
  /** Missing where there is no better kind. */
  why: z.exactOptional(why),
});

/** What the routers before a node do with UDP; see core/punch. */
const nat = z.object({
  mapping,
  filtering: z.enum(["open", "restricted", "unknown"]),
  /** Where its packets were seen to come from. */
  outside: z.array(address).max(OUTSIDE_LIMIT),
  /** It looked for the addresses where a rendezvous answers, and found so many. */
  places: measure(1_000),
});
export type NatReport = z.infer<typeof nat>;

const pairReport = z.object({
  node: nodeId(),
  name: name(),
  /** "none": there is no session, and it could not be begun within some seconds. */
  state: z.enum(["up", "suspect", "down", "none"]),
  path: z.nullable(pathInUse),
  /** Where the other may be, each with what came of dialing it last. */
  candidates: z
    .array(
      z.object({
        address,
        /** Missing: it was not dialed from here, or it answered. */
        failed: z.exactOptional(z.object({ agoMs: duration(Number.MAX_SAFE_INTEGER), error: why })),
      }),
    )
    .max(CANDIDATES_LIMIT),
  /** What came of the last try to make a hole through the routers between; null when there was none. */
  meeting: z.nullable(
    z.object({
      agoMs: duration(Number.MAX_SAFE_INTEGER),
      words: why,
      /** Why the rendezvous does not forward between the two; missing when it does, or was not asked from there. */
      notRelayed: z.exactOptional(why),
      ownMapping: z.exactOptional(mapping),
      theirMapping: z.exactOptional(mapping),
    }),
  ),
});
export type PairReport = z.infer<typeof pairReport>;

/** Answer to explainPath. */
export const pathReport = z.object({
  /** Null when no port could be opened to find out. */
  nat: z.nullable(nat),
  /** Names of the rendezvous that it reaches. */
  rendezvous: z.array(name()).max(RENDEZVOUS_LIMIT),
  /** Of the node that was asked about. */
  to: z.exactOptional(pairReport),
});
export type PathReport = z.infer<typeof pathReport>;
