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

/** What the process that looks has to do with nodes, by their numbers. */
export interface Ties {
  /** It has a session with that node, which is there then, also when the coordinator has lost it. */
  isReached(node: number): boolean;
  /** Slots of that node work for it: should the node retire, they go on. */
  isUsed(node: number): boolean;
}

/**
 * Workers that are there become hosts; every node of the mesh a NodeInfo. One that retires is there only for those that
 * use it; they see it as it was, and not yet the node that has taken its name.
 */
export function jobViewOf(members: readonly MemberInfo[], { isReached, isUsed }: Ties): JobView {
  const isThere = ({ node, state }: MemberInfo) => state !== "down" || isReached(node);
  const seen = members.filter(({ node, retiring }) => !retiring || isUsed(node));
  const kept = new Set(seen.filter(({ retiring }) => retiring).map(({ name }) => name));
  const hosts = seen.filter((member) => member.role === "worker" && member.slots > 0 && isThere(member));
  const nodes = seen.filter(({ name, retiring }) => retiring || !kept.has(name));
  return { hosts: hosts.map(hostOf), nodes: nodes.map((member) => nodeOf(member, isThere(member))) };
}

function hostOf({ node, name, host, slots, tags, cores, arch, memoryBytes, retiring }: MemberInfo): HostInfo {
  return { node, name, host, slots, tags, cores, arch, memoryBytes, ...(retiring && { retiring }) };
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
