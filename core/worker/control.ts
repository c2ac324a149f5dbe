// What terminal, head, agents and slots tell each other: the shapes of the control messages' bodies.

import type { NodeInfo } from "../api/context.ts";
import type { HostInfo } from "../api/hosts.ts";
import type { Address } from "../wire/message.ts";
import type { Waiting } from "./recall-board.ts";

/** The process that shows a job to its user: `mesh run` beside its head. No slot ever has this number. */
export const TERMINAL_SLOT = 65_535;
export const terminalOf = (node: number): Address => ({ node, slot: TERMINAL_SLOT });
/** The process of a node that owns its links: the head, worker or coordinator itself. */
export const nodeAddress = (node: number): Address => ({ node, slot: 0 });

/** Sockets and pages in a node's run folder. */
export const TERMINAL_SOCKET = "terminal.sock";
export const NODE_SOCKET = "node.sock";
export const slotSocket = (slot: number) => `${slot}.sock`;
export const slotPage = (slot: number) => `${slot}.page`;

/** Name of this machine in a mesh that has no other. */
export const LOCAL_HOST = "here";

/** terminal -> head: the job's code is ready. */
export interface StartJob {
  /** Paths of the two bundles. */
  driver: string;
  worker: string;
  /** Path of the script, absolute. */
  script: string;
  args: string[];
  /** Slots tasks get on this machine when there is no mesh and nobody asks for a number. */
  slots: number;
  slotMemoryBytes?: number;
  /** Whether slots are started before the script asks for them. */
  eager: boolean;
  /** Whether somebody sees the progress of long calls. */
  showsProgress: boolean;
}

/** head -> worker: a job may use the slots of this host. */
export interface OpenJob {
  /** The job's key: the node number of its head. */
  job: number;
  /** Its number in the mesh, for people. */
  number: number;
  /** Text of the workers' bundle. */
  bundle: Uint8Array;
  script: string;
  args: string[];
  slotMemoryBytes?: number;
  showsProgress: boolean;
}

/** head -> worker: the job is over. */
export interface CloseJob {
  job: number;
}

/** slot -> head: it wants slots of this host. */
export interface OpenHost {
  node: number;
}

/** What an agent has to know of a job to run its slots. */
export interface JobCode {
  job: number;
  number: number;
  /** Path of the driver's bundle; only beside the head. */
  driver?: string;
  /** Path of the workers' bundle. */
  worker: string;
  script: string;
  args: string[];
  slotMemoryBytes?: number;
  showsProgress: boolean;
}

/** agent -> slot: what to load and who it is. */
export interface LoadJob extends JobCode {
  role: "driver" | "worker";
  host: string;
  /** 0 for the driver. */
  seat: number;
  /** The hosts the job may use, as far as its node knows. */
  hosts: HostInfo[];
  /** Who is in the mesh, as far as its node knows. */
  nodes: NodeInfo[];
}

/** node -> its slots. */
export interface NodesChanged {
  hosts: HostInfo[];
  nodes: NodeInfo[];
  /** Nodes that are no longer there, and why. */
  lost: { node: number; reason: string }[];
}

/** terminal, or coordinator -> head. */
export interface StopJob {
  /** Sent to the script first, so that its own handlers run. */
  signal: NodeJS.Signals;
  /** No grace: everything ends now. */
  now: boolean;
}

/** head -> terminal: the script is over, and everything it started with it. */
export interface JobEnded {
  /** The script's own status; 128 + the signal's number when one ended it. */
  exitCode: number;
  /** Why, when it was not an exit of its own. */
  cause?: string;
}

/** agent -> head, head -> terminal. */
export interface Output {
  /** 0 for the script, else the slot's seat. */
  seat: number;
  host: string;
  stream: "stdout" | "stderr";
  /** As they came from the script; whole lines from slots. */
  bytes: Uint8Array;
}

export interface Seats {
  job: number;
  seats: number[];
  /** To acquire: they are the sender's alone, and a slot that dies there is not replaced. */
  once?: boolean;
}

export interface KillSlot {
  job: number;
  slot: number;
  reason: string;
  /** Only while it works on this run of the sender. */
  run?: number;
  /** So long it may still go on; with `gentle` after a SIGTERM. */
  graceMs?: number;
  gentle?: boolean;
}

/** process of a job -> agent: it wants back what waits in a slot; answered with Recalled. */
export interface RecallChunks {
  job: number;
  slot: number;
  waiting: Waiting[];
}

/** Places in RecallChunks.waiting of what never began there, and never will. */
export interface Recalled {
  free: number[];
}

/** agent -> head -> agents of the job: a process that may have asked for slots or answers is gone. */
export interface UserGone {
  job: number;
  user: Address;
  reason: string;
}

/** driver or slot -> head -> terminal: something the user should know. */
export interface Notice {
  text: string;
}

/** driver -> head -> terminal: how a long call goes on, without `total` for iterables; null takes the bar away. */
export interface Progress {
  label: string;
  done: number;
  total?: number;
  running: number;
  failed?: number;
  /** Items for each second since the call began. */
  ratePerS: number;
}
