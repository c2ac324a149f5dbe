// What the coordinator says of a host's worker, and of two workers that are to talk, in words for people with the fix. Pure.
import { buildOf, type NodeStatus, type PeerStatus } from "../coordinator/answers.ts";
import type { Finding, HostRole } from "../provider.ts";
import { PUNCH_RANK, rankOf, STRAIGHT_RANK } from "../session/machine/ladder.ts";
import { type Explained, natFinding, PATH_WORDS, triedFindings, whyFindings } from "./path-findings.ts";
import { mustDialFinding } from "./rendezvous-findings.ts";

/**
 * How a worker is in the mesh. `hasWorker` says that its process was seen on its host; `build` is this one,
 * "0.1.0 (1a2b3c4)".
 */
export function memberFinding(
  name: string,
  node: NodeStatus | undefined,
  { role = "worker", build, hasWorker }: { role?: HostRole; build: string; hasWorker: boolean },
): Finding {
  const check = "mesh";
  if (!node && !hasWorker) return { check, state: "skipped", words: `no ${role} of that name: \`mesh up ${name}\`` };
  if (!node) {
    const words = `its ${role} runs and is not in the mesh`;
    return unreachable(check, words, `its log on the host says why; \`mesh up ${name}\` starts it anew`);
  }
  if (node.state === "down") return unreachable(check, "down: it was lost", startWords(name));
  const slots = role === "worker" ? `, ${node.used} of ${node.slots} slots used` : "";
  const words = `${node.state}, ${wayWords(node)}${slots}`;
  if (node.state === "suspect") {
    const fix = "wait a moment: it comes back or is given up; is its host under load, or the network bad?";
    return { check, state: "warning", words, fix };
  }
  const own = buildOf(node);
  if (own === build) return { check, state: "ok", words };
  return { check, state: "warning", words: `${words}; of build ${own}, and this is ${build}`, fix: `mesh up ${name}` };
}

/** What can be told of two hosts whose workers are to talk. */
export interface Pair {
  name: string;
  node: NodeStatus | undefined;
  /** Whether it can dial the other one; undefined where that is not known. */
  dials: boolean | undefined;
  /** What it says itself of the other; undefined where it was not asked. */
  report?: Explained["report"] | undefined;
}

/** How two workers reach each other, and why so; both hosts were looked at. */
export function pairFindings(a: Pair, b: Pair): Finding[] {
  return absenceFindings(a, b) ?? [pathFinding(a, b), dialFinding(a, b), dialFinding(b, a), ...explanation(a, b)];
}

/** The same of any two nodes, as far as they and the coordinator tell. */
export function nodePairFindings(a: Pair, b: Pair): Finding[] {
  const nats = [a, b].flatMap(({ name, node, report }) =>
    report && node?.role !== "rendezvous" ? [{ ...natFinding(report), check: `NAT of ${name}` }] : [],
  );
  return absenceFindings(a, b) ?? [pathFinding(a, b), ...nats, ...explanation(a, b)];
}

function absenceFindings(a: Pair, b: Pair): Finding[] | undefined {
  const missing = [a, b].filter(({ node }) => !node || node.state === "down");
  if (missing.length === 0) return undefined;
  const words = missing.map(({ name, node }) => `${name} is ${node ? "down: it was lost" : "not in the mesh"}`);
  return [unreachable("path", words.join(", and "), startWords(missing.map(({ name }) => name).join(" ")))];
}

/** Only who started it knows how. */
function startWords(names: string): string {
  return `\`mesh up ${names}\`; what joined by a token is started on its own machine`;
}

/** Nothing where the path is straight, or nobody was asked. */
function explanation(a: Pair, b: Pair): Finding[] {
  const [own, other] = [a, b].map(({ name, node, report }): Explained | undefined => {
    const usesUdp = node?.addresses.some((address) => address.startsWith("udp://")) ?? false;
    return report && { name, report, usesUdp };
  });
  const used = usedPath(a, b);
  const isUp = used?.state === "up";
  const rank = used && isUp ? rankOf(used.path) : Number.POSITIVE_INFINITY;
  if (!own || !other || rank <= STRAIGHT_RANK) return [];
  const rendezvous = [b, a].find(({ node }) => node?.role === "rendezvous")?.node;
  if (rendezvous) {
    const from = rendezvous.name === a.name ? b.name : a.name;
    return [mustDialFinding(from, rendezvous, isUp), ...[own, other].flatMap(triedFindings)];
  }
  return whyFindings(own, other, { hasPath: isUp, isHole: rank === PUNCH_RANK });
}

function pathFinding(a: Pair, b: Pair): Finding {
  const check = "path";
  const used = usedPath(a, b);
  if (used?.state === "up") return usedFinding(used, a, b);
  if (used) {
    const fix = "wait a moment; when it stays so, look at what each can dial below";
    return { check, state: "warning", words: `they have a session, which is ${used.state} just now`, fix };
  }
  if (a.dials || b.dials) return { check, state: "ok", words: "none yet: they meet when something is sent, and can" };
  if ([a, b].some(({ dials, report }) => dials === undefined && (!report || report instanceof Error))) {
    return {
      check,
      state: "skipped",
      words: "none yet: they meet when something is sent; whether they can is not known",
    };
  }
  const fix = `open the port of one of them to the other, or run \`mesh up ${a.name} ${b.name}\` for a tunnel over SSH`;
  return unreachable(check, "none: neither can dial the other", fix);
}

function usedFinding({ path, address, rttMs, sinceMs }: UsedPath, a: Pair, b: Pair): Finding {
  const how = `${PATH_WORDS[path] ?? `over ${path}`}${address ? ` (${address})` : ""}`;
  const rtt = rttMs === null ? "" : `, round trip ${milliseconds(rttMs)}`;
  const since = sinceMs === null ? "" : `, for ${Math.round(sinceMs / 1_000)} s`;
  return { check: "path", state: "ok", words: `${how}${rtt}${since}${whyWords(path, a, b)}` };
}

type UsedPath = Omit<PeerStatus, "node" | "name" | "why">;

/** As one of them says itself just now, else as the coordinator was told. */
function usedPath(a: Pair, b: Pair): UsedPath | undefined {
  const [used, ...others] = [saidPath(a), saidPath(b), pathBetween(a, b), pathBetween(b, a)].filter(
    (path) => path !== undefined,
  );
  const address = used?.address ?? others.find(({ path }) => path === used?.path)?.address ?? null;
  return used && { ...used, address };
}

function saidPath({ report }: Pair): UsedPath | undefined {
  const to = report === undefined || report instanceof Error ? undefined : report.to;
  if (!to?.path || (to.state !== "up" && to.state !== "suspect")) return undefined;
  const { kind, address, rttMs, sinceMs } = to.path;
  return { state: to.state, path: kind, address: address ?? null, rttMs: rttMs ?? null, sinceMs };
}

function whyWords(path: string, a: Pair, b: Pair): string {
  if (rankOf(path) > PUNCH_RANK) return ": no better way was found; why, and what would help, is below";
  if (rankOf(path) > STRAIGHT_RANK) return ": neither can be dialed";
  if (a.dials && b.dials) return ": each can dial the other";
  if (a.dials) return `: ${a.name} dials ${b.name}`;
  if (b.dials) return `: ${b.name} dials ${a.name}`;
  return a.dials === false || b.dials === false ? ": it was made before, and holds" : "";
}

function dialFinding(from: Pair, to: Pair): Finding {
  const check = `${from.name} to ${to.name}`;
  if (from.dials === undefined) return { check, state: "skipped", words: `not known: mesh is not on ${from.name} yet` };
  if (from.dials) return { check, state: "ok", words: "can be dialed" };
  const words = "cannot be dialed";
  if (to.dials !== false) return { check, state: "ok", words: `${words}; one way is enough` };
  return { check, state: "warning", words, fix: `let ${from.name} through to ${to.node!.addresses.join(", ")}` };
}

function pathBetween(a: Pair, b: Pair) {
  return a.node?.peers.find(({ name }) => name === b.name);
}

function wayWords({ path }: NodeStatus): string {
  if (!path) return "way not measured yet";
  const rtt = path.rttMs === null ? "" : `, round trip ${milliseconds(path.rttMs)}`;
  return `reached ${PATH_WORDS[path.kind] ?? `over ${path.kind}`}${rtt}`;
}

function milliseconds(ms: number): string {
  return ms < 10 ? `${ms.toFixed(2)} ms` : `${Math.round(ms)} ms`;
}

function unreachable(check: string, words: string, fix: string): Finding {
  return { check, state: "problem", words, fix, code: "UNREACHABLE" };
}
