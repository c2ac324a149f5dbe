// How the nodes of a mesh reach each other, pair by pair, as lines for people.
import type { NodeStatus, PeerStatus, Status } from "../../core/coordinator/answers.ts";
import { bytesWords, roundTripWords, spanWords } from "../amounts.ts";
import { type Column, cutTo, type TableOptions, table } from "../table.ts";

/** One pair, as one of both tells of it. */
interface PairRow extends Omit<PeerStatus, "node" | "name"> {
  from: string;
  to: string;
  /** What it sent through the relay that it uses. */
  relayedBytes?: number;
}

/** What `mesh status --peers` prints: a row for each pair that has a session; of those `names` name, if there are any. */
export function peersLines(status: Status, names: readonly string[], options: TableOptions): string[] {
  const rows = pairRows(status, names);
  if (rows.length > 0) return table(rows, COLUMNS, options);
  const who = names.length > 0 ? names.join(", ") : "the mesh";
  return [cutTo(`${who}: no two nodes have a session with each other`, options.width)];
}

/** Each pair once: as the node that is named tells of it, else the first by name. */
export function pairRows({ nodes }: Status, names: readonly string[] = []): PairRow[] {
  const ofBoth = new Map<string, PairRow>();
  for (const node of inOrder(nodes, names)) {
    for (const { node: other, name, ...peer } of peersOf(node, nodes)) {
      const to = name ?? `node ${other}`;
      if (names.length > 0 && !names.includes(node.name) && !names.includes(to)) continue;
      const key = [node.node, other].sort((a, b) => a - b).join("-");
      const known = ofBoth.get(key);
      ofBoth.set(key, known ? completed(known, peer) : { ...peer, from: node.name, to });
    }
  }
  return [...ofBoth.values()].map((row) => withBytes(row, nodes));
}

function withBytes(row: PairRow, nodes: readonly NodeStatus[]): PairRow {
  const isOf = ({ between }: { between: readonly string[] }) => between.includes(row.from) && between.includes(row.to);
  const relays = nodes.flatMap(({ rendezvous }) => rendezvous?.pairs.filter(isOf) ?? []);
  const relayedBytes = relays.reduce((sum, { bytes }) => sum + bytes, 0);
  return relays.length > 0 && isRelayed(row) ? { ...row, relayedBytes } : row;
}

function isRelayed({ path }: PairRow): boolean {
  return path === "relay" || path === "tcprelay";
}

/** With what only the other side knows. */
function completed(row: PairRow, { path, address, why }: Omit<PeerStatus, "node" | "name">): PairRow {
  return row.path === path ? { ...row, address: row.address ?? address, why: row.why ?? why } : row;
}

function inOrder(nodes: readonly NodeStatus[], names: readonly string[]): NodeStatus[] {
  const { compare } = new Intl.Collator("en", { numeric: true });
  const isNamed = ({ name }: NodeStatus) => Number(!names.includes(name));
  return nodes.toSorted((a, b) => isNamed(a) - isNamed(b) || compare(a.name, b.name));
}

/** The coordinator reports to nobody: what it knows stands with each node. */
function peersOf(node: NodeStatus, all: readonly NodeStatus[]): readonly PeerStatus[] {
  if (node.role !== "coordinator") return node.peers;
  return all.flatMap(({ node: number, name, state, path }) => {
    if (path === null || number === node.node) return [];
    const { kind, ...rest } = path;
    return [{ node: number, name, state: state === "retiring" ? "up" : state, path: kind, ...rest }];
  });
}

const COLUMNS: Column<PairRow>[] = [
  { title: "FROM", rank: 0, text: ({ from }) => from },
  { title: "TO", rank: 0, text: ({ to }) => to },
  {
    title: "STATE",
    rank: 4,
    text: ({ state }) => state,
    colour: ({ state }) => (state === "up" ? "green" : state === "down" ? "red" : "yellow"),
  },
  { title: "PATH", rank: 0, text: ({ path }) => path },
  { title: "RTT", rank: 1, align: "right", text: ({ rttMs }) => (rttMs === null ? "-" : roundTripWords(rttMs)) },
  {
    title: "FOR",
    rank: 3,
    align: "right",
    text: ({ sinceMs }) => (sinceMs === null ? "-" : spanWords(sinceMs / 1_000)),
  },
  {
    title: "RELAYED",
    rank: 5,
    align: "right",
    text: ({ relayedBytes }) => (relayedBytes === undefined ? "" : bytesWords(relayedBytes)),
  },
  { title: "ADDRESS", rank: 2, text: ({ address }) => address ?? "-" },
  { title: "WHY NOT BETTER", rank: 1, isCut: true, text: ({ why }) => why ?? "" },
];
