// What the coordinator answers and sends: plain shapes. It is the authority of its mesh; who gets these trusts them.
import type { Role } from "../identity/names.ts";
import type { RevocationData } from "../identity/revocations.ts";
import type { JobProgress, LogRecord, Register, RendezvousReport } from "./bodies.ts";

/** "suspect": not heard of for a while, or between two links. */
export type NodeState = "up" | "suspect" | "down";

/** One node of the mesh. */
export interface NodeInfo extends Register {
  node: number;
  name: string;
  role: Role;
  state: NodeState;
}

/** Answer to register. The view of the whole mesh follows as a membership message. */
export interface Registered {
  mesh: { id: string; name: string };
  /** Name of the coordinator. */
  coordinator: string;
}

/** coordinator -> nodes: who is in the mesh. Each version follows the one before, or is full. */
export interface MembershipUpdate {
  version: number;
  /** `nodes` are all there are. */
  full?: true;
  /** The coordinator started a moment ago: who is missing in a full view may only not have come back yet. */
  settling?: true;
  /** New ones, and those that changed. */
  nodes: NodeInfo[];
  /** Ids of those that left. */
  gone: number[];
  /** Changes of state alone. */
  states: [node: number, state: NodeState][];
}

/** coordinator -> node: it wants to meet you; dial it. Also the answer to introduce: where that node listens. */
export interface Introduced {
  node: number;
  name: string;
  role: Role;
  addresses: string[];
}

/** coordinator -> node: whom not to trust any more, and whom to trust. */
export interface Revoked {
  /** Grows with each change of what follows; an older one is ignored. */
  version: number;
  list: RevocationData;
  /** All CAs that are trusted now, as PEM. */
  caPem: string;
  /** The CA was replaced: ask for a new certificate. */
  renew?: true;
}

/** Answer to certify. */
export interface Certified {
  certificatePem: string;
  caPem: string;
  /** ms since 1970. */
  expiresAt: number;
}

/** Answer to issueToken. */
export interface Token {
  token: string;
  expiresAt: number;
}

/** Answer to beginJob. */
export interface JobBegun {
  job: number;
  /** What the user should know: the history cannot be written. */
  warning?: string;
}

export type JobState = "running" | "done" | "failed" | "killed" | "lost";
export type Progress = NonNullable<JobProgress["progress"]>;

/** A job, as it runs or as history tells of it. Times are ms since 1970. */
export interface JobRecord {
  /** From 1 for good. */
  job: number;
  name: string;
  script: string;
  user: string;
  /** The machine its user sat at. */
  host: string;
  /** The node that runs its script; 0 until the head of a detached job has come. */
  head: { node: number; name: string };
  detached: boolean;
  state: JobState;
  exitCode: number | null;
  cause: string | null;
  startedAt: number;
  endedAt: number | null;
  progress: Progress | null;
  /** Names of the nodes it used. */
  nodes: string[];
}

/** How a node is reached. What is not known, or not measured yet, is null. */
export interface PathInfo {
  /** The scheme of the address that was dialed, by whichever side: "tcp", "punch"; "self" for the coordinator itself. */
  kind: string;
  /** Without secrets. */
  address: string | null;
  rttMs: number | null;
  /** How long it has been in use. */
  sinceMs: number | null;
  /** Why there is no better path, in short words; null where there is no better kind. */
  why: string | null;
}

/** A peer of a node, and how it is reached from there. */
export interface PeerStatus extends Omit<PathInfo, "kind"> {
  node: number;
  /** Null when it is not in the mesh. */
  name: string | null;
  state: NodeState;
  /** What carries it: "tcp", "ssh"; "none". */
  path: string;
}

/** What a rendezvous did since it began, and which pairs it relays now: of more than 64 those that have sent the most. */
export interface RendezvousStatus extends Omit<RendezvousReport, "pairs"> {
  /** By the names of the nodes. */
  pairs: { between: [string, string]; bytes: number }[];
}

/** One row of status. What is not known is null. */
export interface NodeStatus {
  name: string;
  node: number;
  host: string;
  role: Role;
  slots: number;
  used: number;
  cores: number;
  arch: string;
  load: number | null;
  memory: { usedBytes: number; totalBytes: number } | null;
  tags: string[];
  version: string;
  build: string;
  /** "retiring": there, takes no new jobs, and ends when those it has are over; another may have its name. */
  state: NodeState | "retiring";
  since: number;
  addresses: string[];
  /** From the coordinator. */
  path: PathInfo | null;
  peers: PeerStatus[];
  /** What it did as a rendezvous; null where it is none, or has not told yet. */
  rendezvous: RendezvousStatus | null;
}

/** Answer to status. */
export interface Status {
  mesh: {
    name: string;
    id: string;
    coordinator: { name: string; node: number; addresses: string[]; since: number; version: string };
  };
  nodes: NodeStatus[];
  /** Those that run. */
  jobs: JobRecord[];
  /** Commands that asked to meet nodes, and where they listen; they are no members. */
  visitors: { name: string; addresses: string[] }[];
}

/** Answer to logs, before the first lines. */
export interface LogsBegun {
  job: number;
  state: JobState;
}

/** coordinator -> who asked for logs, request: its reply asks for more. */
export interface LogLines {
  reader: number;
  records: LogRecord[];
  /** So many bytes before the first of `records` were dropped, because the log was full or could not be written. */
  droppedBytes?: number;
  /** Nothing follows. */
  end?: true;
  /** With `end`. */
  state?: JobState;
  exitCode?: number | null;
  /** With `end`: the log could not be read on. */
  error?: string;
}

/** How a job that was to be killed ended. */
export interface KilledJob {
  job: number;
  name: string;
  state: JobState;
  exitCode: number | null;
  cause: string | null;
}

/** The build of a node, as builds are told to people and compared: "0.1.0 (1a2b3c4)". */
export function buildOf({ version, build }: Pick<NodeStatus, "version" | "build">): string {
  return `${version} (${build})`;
}
