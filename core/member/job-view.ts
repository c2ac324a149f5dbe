// The mesh as jobs see it, from what the coordinator tells nodes.
import type { NodeInfo } from "../api/context.ts";
import type { HostInfo } from "../api/hosts.ts";
import type { NodeInfo as MemberInfo } from "../coordinator/answers.ts";
import type { MembershipChange } from "../coordinator/membership-view.ts";
import type { NodesChanged } from "../worker/control.ts";

export interface JobView {
  hosts: HostInfo[];
  nodes: NodeInfo[];
}

/**
 * Workers that are there become hosts; every node of the mesh a NodeInfo. One that the coordinator has lost is there as
 * long as this node has a session with it (`isReached`).
 */
export function jobViewOf(members: readonly MemberInfo[], isReached: (node: number) => boolean): JobView {
  const isThere = ({ node, state }: MemberInfo) => state !== "down" || isReached(node);
  const hosts = members.filter((member) => member.role === "worker" && member.slots > 0 && isThere(member));
  return { hosts: hosts.map(hostOf), nodes: members.map((member) => nodeOf(member, isThere(member))) };
}

function hostOf({ node, name, host, slots, tags, cores, arch, memoryBytes }: MemberInfo): HostInfo {
  return { node, name, host, slots, tags, cores, arch, memoryBytes };
}

function nodeOf(member: MemberInfo, isThere: boolean): NodeInfo {
  const { node, name, role, host, slots, tags, cores, arch, memoryBytes } = member;
  return { node, name, role, status: isThere ? "up" : "down", host, slots, tags, cores, arch, memoryBytes };
}

/** What slots are told when the mesh has changed. */
export function nodesChanged(changes: readonly MembershipChange[], view: JobView): NodesChanged {
  const lost = changes
    .filter(({ kind }) => kind === "offline")
    .map(({ node: { node, name } }) => ({ node, reason: `${name} has left the mesh` }));
  return { ...view, lost };
}
