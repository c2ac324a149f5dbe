// What nodes say of the routers before them and of how they reach each other, in words for people with the fix. Pure.
import type { NatReport, PairReport, PathReport } from "../coordinator/path-report.ts";
import type { Finding } from "../provider.ts";

/** How a path is told of, by its kind. */
export const PATH_WORDS: Record<string, string> = {
  tcp: "directly, over TCP",
  udp: "directly, over UDP",
  punch: "directly, over UDP, through a hole in the routers",
  relay: "relayed by a rendezvous, over UDP",
  tcprelay: "relayed by a rendezvous, over TCP",
  ssh: "through a tunnel over SSH",
};

/** One of two nodes, and what it says of the other. */
export interface Explained {
  name: string;
  /** An error when it could not be asked. */
  report: PathReport | Error;
  /** Whether it listens on UDP. */
  usesUdp: boolean;
}

/** What the routers before a node do with UDP. */
export function natFinding(report: Pick<PathReport, "nat"> | Error): Finding {
  const check = "NAT";
  if (report instanceof Error) return { check, state: "skipped", words: `not known: ${report.message}` };
  const { nat } = report;
  if (!nat) return { check, state: "warning", words: "not known: it could open no UDP port", fix: "look at its log" };
  const { mapping } = nat;
  if (mapping === "unknown") return { check, state: "skipped", words: unknownWords(nat) };
  if (mapping !== "blocked") return { check, state: "ok", words: natWords({ ...nat, mapping }) };
  const words = "no UDP packet gets an answer from outside: links are TCP, if need be through a rendezvous";
  return { check, state: "warning", words, fix: "let UDP out of its network" };
}

function unknownWords({ places }: NatReport): string {
  if (places === 0) return "not known: no rendezvous that answers over UDP was reached";
  return "not known: the rendezvous is on the same machine, or tells too little";
}

type Passing = Exclude<NatReport["mapping"], "unknown" | "blocked">;

const MAPPING_WORDS: Record<Passing, string> = {
  none: "none: UDP packets leave as they are",
  independent: "UDP packets of one port leave by one port outside, to whomever (mapping endpoint-independent)",
  dependent:
    "UDP packets of one port leave by another port outside to each target (mapping address- and port-dependent, symmetric): no hole to another such node can be made",
};
const FILTERING_WORDS: Record<NatReport["filtering"], string> = {
  open: "; what others send comes in (filtering endpoint-independent)",
  restricted: "; what others send comes in only where something was sent to (filtering address- or port-dependent)",
  unknown: "",
};

function natWords({ mapping, filtering, outside }: NatReport & { mapping: Passing }): string {
  const seen = mapping === "none" || outside.length === 0 ? "" : `; seen as ${outside.join(", ")}`;
  return MAPPING_WORDS[mapping] + FILTERING_WORDS[filtering] + seen;
}

/**
 * Why two nodes have no better path than the one in use, what each has tried, and what would help. `hasPath`: they reach
 * each other; without, what is found is a problem.
 */
export function whyFindings(
  a: Explained,
  b: Explained,
  { hasPath, isHole }: { hasPath: boolean; isHole: boolean },
): Finding[] {
  return [
    ...(isHole ? [] : [holeFinding(a, b, hasPath)]),
    sharedFinding(a, b),
    ...(hasPath ? [] : refusedFindings(a, b)),
    ...[a, b].flatMap((side) => triedFindings(side)),
  ];
}

function holeFinding(a: Explained, b: Explained, hasPath: boolean): Finding {
  const check = "hole";
  const { words, fix } = obstacle(a, b);
  if (hasPath) return { check, state: "warning", words, fix };
  return { check, state: "problem", words, fix, code: "UNREACHABLE" };
}

function obstacle(a: Explained, b: Explained): { words: string; fix: string } {
  const without = [a, b].filter(({ usesUdp }) => !usesUdp).map(({ name }) => name);
  if (without.length > 0) {
    const words = `${without.join(" and ")} ${without.length > 1 ? "do" : "does"} not listen on UDP: no hole can be made`;
    return { words, fix: NO_UDP_FIX };
  }
  const [own, other] = [mappingOf(a), mappingOf(b)];
  if (own === "dependent" && other === "dependent") {
    const words =
      "the routers of both give another port to each target (symmetric NAT), so that neither can know the other's: no hole can be made";
    return { words, fix: `${FORWARD_FIX}; or put both on one network, or give both IPv6` };
  }
  const blocked = [a, b].filter((side) => mappingOf(side) === "blocked").map(({ name }) => name);
  if (blocked.length > 0) {
    const words = `no UDP packet of ${blocked.join(" and ")} gets an answer from outside: no hole can be made`;
    return { words, fix: `let UDP out of the network of ${blocked.join(" and of that of ")}` };
  }
  if (sharedRendezvous(a, b)?.length === 0) {
    return { words: "no rendezvous is reached by both, so that none can be made", fix: RENDEZVOUS_FIX };
  }
  const told = meetingOf(a) ?? meetingOf(b);
  const words = told ? `the last try came to this: ${told.words}` : "none has been tried yet";
  return { words, fix: `wait a moment: it is tried again; where that is in vain, ${FORWARD_FIX}` };
}

const FORWARD_FIX =
  "forward a UDP port of one of the two routers to the node behind it, which is to listen there (listen of [hosts.NAME] in mesh.toml, or " +
  "--listen udp://[::]:PORT) and to tell others so (advertise, or --advertise udp://OUTSIDE:PORT)";
const NO_UDP_FIX =
  'let it use UDP, if the network does: in mesh.toml `transports` of [mesh] without "udp", or `listen` without a udp:// address, rules it out';
const RENDEZVOUS_FIX = "start a rendezvous where both reach it: `mesh rendezvous` there, or [rendezvous] in mesh.toml";

function sharedFinding(a: Explained, b: Explained): Finding {
  const check = "rendezvous";
  const shared = sharedRendezvous(a, b);
  if (!shared) return { check, state: "skipped", words: "not known: both would have to be asked" };
  if (shared.length > 0) return { check, state: "ok", words: `both reach ${shared.join(", ")}` };
  return { check, state: "warning", words: "none that both reach", fix: RENDEZVOUS_FIX };
}

/** Of the two, one asks for a relay. */
function refusedFindings(a: Explained, b: Explained): Finding[] {
  const words = meetingOf(a)?.notRelayed ?? meetingOf(b)?.notRelayed;
  return words === undefined ? [] : [{ check: "relay", state: "problem", words, code: "UNREACHABLE" }];
}

/** Undefined when one could not be asked. A node that is a rendezvous is one for whoever reaches it. */
function sharedRendezvous(a: Explained, b: Explained): string[] | undefined {
  const [own, others] = [a, b].map(({ name, report }) =>
    report instanceof Error ? undefined : [name, ...report.rendezvous],
  );
  return own && others && own.filter((name) => others.includes(name));
}

/** What came of dialing the other from there. */
export function triedFindings({ name, report }: Explained): Finding[] {
  const check = `from ${name}`;
  if (report instanceof Error) return [{ check, state: "skipped", words: `could not be asked: ${report.message}` }];
  const { to } = report;
  if (!to) return [];
  const used = to.state === "up" ? to.path?.address : undefined;
  const lines = [
    ...to.candidates.map((candidate) => candidateWords(candidate, used)),
    ...(to.meeting ? [meetingWords(to.meeting)] : []),
  ];
  const words = lines.join("\n") || `no address of ${to.name} is known there`;
  return [{ check, state: "ok", words }];
}

function candidateWords({ address, failed }: PairReport["candidates"][number], used: string | undefined): string {
  if (address === used) return `${address}: in use`;
  if (!failed) return `${address}: not tried to the end`;
  return `${address}: ${failed.error} (${secondsWords(failed.agoMs)} ago)`;
}

function meetingWords({ words, agoMs }: NonNullable<PairReport["meeting"]>): string {
  return `hole: ${words} (${secondsWords(agoMs)} ago)`;
}

function secondsWords(ms: number): string {
  return ms < 120_000 ? `${Math.round(ms / 1_000)} s` : `${Math.round(ms / 60_000)} min`;
}

/** By what it says now, else by what it said when they met last. */
function mappingOf({ report }: Explained): NatReport["mapping"] | undefined {
  if (report instanceof Error) return undefined;
  const now = report.nat?.mapping;
  return now === undefined || now === "unknown" ? report.to?.meeting?.ownMapping : now;
}

function meetingOf({ report }: Explained): PairReport["meeting"] | undefined {
  return report instanceof Error ? undefined : report.to?.meeting;
}
