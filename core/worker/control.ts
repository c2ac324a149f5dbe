// What head, agent and slots of one machine tell each other: the shapes of the control messages' bodies.
import type { Address } from "../wire/message.ts";

/** Node numbers of a mesh of one machine: the head's terminal process, and the agent with its slots. */
export const HEAD: Address = { node: 1, slot: 0 };
export const AGENT: Address = { node: 2, slot: 0 };

/** Sockets in the job's folder. */
export const HEAD_SOCKET = "head.sock";
export const AGENT_SOCKET = "agent.sock";
export const slotSocket = (slot: number) => `${slot}.sock`;
export const slotPage = (slot: number) => `${slot}.page`;

/** Name of this machine in a mesh that has no other. */
export const LOCAL_HOST = "here";

/** head -> agent: the job's code is ready. */
export interface StartJob {
  /** Paths of the two bundles. */
  driver: string;
  worker: string;
  /** Path of the script, absolute. */
  script: string;
  args: string[];
  /** Slots tasks get when nobody asks for a number. */
  slots: number;
  slotMemoryBytes?: number;
  /** Whether slots are started before the script asks for them. */
  eager: boolean;
  /** Whether somebody sees the progress of long calls. */
  showsProgress: boolean;
}

/** agent -> slot: what to load and who it is. */
export interface LoadJob extends StartJob {
  role: "driver" | "worker";
  host: string;
  /** 0 for the driver. */
  seat: number;
}

/** head -> agent. */
export interface StopJob {
  /** Sent to the script first, so that its own handlers run. */
  signal: NodeJS.Signals;
  /** No grace: everything ends now. */
  now: boolean;
}

/** agent -> head: the script is over, and everything it started with it. */
export interface JobEnded {
  /** The script's own status; 128 + the signal's number when one ended it. */
  exitCode: number;
  /** Why, when it was not an exit of its own. */
  cause?: string;
}

/** agent -> head. */
export interface Output {
  /** 0 for the script, else the slot's seat. */
  seat: number;
  host: string;
  stream: "stdout" | "stderr";
  /** As they came from the script; whole lines from slots. */
  bytes: Uint8Array;
}

export interface Seats {
  seats: number[];
}

export interface KillSlot {
  slot: number;
  reason: string;
  /** Only while it works on this run of the sender. */
  run?: number;
  graceMs?: number;
}

/** slot -> head: how a long call goes on, without `total` for iterables; null takes the bar away. */
export interface Progress {
  label: string;
  done: number;
  total?: number;
  running: number;
  failed?: number;
  /** Items for each second since the call began. */
  ratePerS: number;
}
