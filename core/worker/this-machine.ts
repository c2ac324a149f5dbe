// This machine as the mesh sees it.
import { hostname, totalmem } from "node:os";
import type { NodeInfo } from "../api/context.ts";
import type { HostInfo } from "../api/hosts.ts";

export interface MachineOptions {
  /** Number and name of the node that stands for it. */
  node: number;
  name: string;
  slots: number;
  tags?: string[];
}

/** Describes this machine, as a host with slots and as a node. */
export function thisMachine({ node, name, slots, tags = [] }: MachineOptions): { host: HostInfo; info: NodeInfo } {
  const facts = {
    host: hostname(),
    cores: navigator.hardwareConcurrency,
    arch: process.arch,
    memoryBytes: totalmem(),
  };
  return {
    host: { node, name, slots, tags, ...facts },
    info: { node, name, role: "head", status: "up", slots, tags, ...facts },
  };
}
