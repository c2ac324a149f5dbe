// What `mesh status` is told.
import type { NodeInfo, NodeStatus, PathInfo, PeerStatus, RendezvousStatus, Status } from "./answers.ts";
import type { RendezvousReport, Report } from "./bodies.ts";
import type { Membership } from "./membership.ts";

export interface StatusSource {
  mesh: { name: string; id: string };
  coordinator: Status["mesh"]["coordinator"];
  membership: Membership;
  reports: ReadonlyMap<number, Report>;
  jobs: Status["jobs"];
  visitors: Status["visitors"];
  /** How the coordinator reaches a node, if it knows. */
  pathTo(node: number): PathInfo | undefined;
  /** What the coordinator itself did as a rendezvous, if it is one. */
  rendezvous: RendezvousReport | undefined;
}

/** Coordinator first, then by name; of one name the node that has it before those that retire. */
export function statusOf(source: StatusSource): Status {
  const { mesh, coordinator, membership, jobs, visitors } = source;
  const nodes = [...membership.nodes(), ...membership.lost()].sort(byRoleAndName);
  return { mesh: { ...mesh, coordinator }, nodes: nodes.map((info) => nodeStatusOf(info, source)), jobs, visitors };
}

function nodeStatusOf(info: NodeInfo, source: StatusSource): NodeStatus {
  const { coordinator, membership, reports, pathTo } = source;
  const { memoryBytes: _, retiring, ...rest } = info;
  const report = info.state === "down" ? undefined : reports.get(info.node);
  const own = report?.peers.find(({ node }) => node === coordinator.node);
  const isSelf = info.node === coordinator.node;
  const path =
    info.state === "down" ? undefined : (pathTo(info.node) ?? (own && own.path !== "none" ? pathOf(own) : undefined));
  return {
    ...rest,
    state: retiring ? "retiring" : info.state,
    used: report?.slotsUsed ?? 0,
    load: report?.load1 ?? null,
    memory: report?.memory ?? null,
    path: isSelf ? pathOf({ path: "self" }) : (path ?? null),
    peers: (report?.peers ?? []).map((peer) => peerStatusOf(peer, membership)),
    rendezvous: rendezvousStatusOf(isSelf ? source.rendezvous : toldBy(info, report), membership),
  };
}

type ReportedPeer = Report["peers"][number];

function peerStatusOf(peer: ReportedPeer, membership: Membership): PeerStatus {
  const { kind, ...path } = pathOf(peer);
  const { node, state } = peer;
  return { node, name: membership.get(node)?.name ?? null, state, path: kind, ...path };
}

/** What others say of themselves as a rendezvous is not shown. */
function toldBy({ role }: NodeInfo, report: Report | undefined): RendezvousReport | undefined {
  return role === "rendezvous" ? report?.rendezvous : undefined;
}

function rendezvousStatusOf(report: RendezvousReport | undefined, membership: Membership): RendezvousStatus | null {
  if (!report) return null;
  const nameOf = (node: number) => membership.get(node)?.name ?? `node ${node}`;
  const pairs = report.pairs.map(({ nodes: [first, second], bytes }) => ({
    between: [nameOf(first), nameOf(second)] as [string, string],
    bytes,
  }));
  return { ...report, pairs };
}

function pathOf({ path: kind, address, rttMs, sinceMs, why }: Partial<ReportedPeer> & { path: string }): PathInfo {
  return { kind, address: address ?? null, rttMs: rttMs ?? null, sinceMs: sinceMs ?? null, why: why ?? null };
}

function byRoleAndName(a: NodeInfo, b: NodeInfo): number {
  const [first, second] = [a, b].map(({ role }) => Number(role !== "coordinator")) as [number, number];
  if (first !== second) return first - second;
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return Number(a.retiring ?? false) - Number(b.retiring ?? false);
}
