// What core knows of starting and stopping workers on hosts. Implementations are in plugins/ and in users' own files; core
// never names one. Two families: push holds a channel to the host, sends the binary and hands a certificate over it
// (ssh, local); pull is told a token, and the host fetches the binary and joins by itself (a batch system, a cloud).
import type { MeshErrorCode } from "./errors.ts";
import type { Joined } from "./identity/join.ts";
import type { RendezvousSettings } from "./rendezvous/settings.ts";

/** A host as mesh.toml or the command line names it. */
export interface ProvidedHost {
  /** The name of its worker's node; unique in the mesh. */
  name: string;
  /** How the provider finds it: for ssh a destination, such as "alice@10.0.0.5" or an alias of ssh_config. */
  target: string;
  worker: WorkerSettings;
}

/** What is started on hosts: a worker, or a rendezvous, which has no slots. */
export type HostRole = "worker" | "rendezvous";

/** What its worker is to be; what is not given is up to the host. */
export interface WorkerSettings {
  /** Default: a worker. */
  role?: HostRole;
  /** Default: one for each core. */
  slots?: number;
  slotMemoryBytes?: number;
  tags: string[];
  /** What the node may use, of the transports that ship; default: all. */
  transports?: readonly string[];
  /** Where its worker listens; default: any free port of every transport. */
  listen?: string[];
  /** What other nodes are told instead. */
  advertise?: string[];
  /** Of a rendezvous. */
  rendezvous?: RendezvousSettings;
  heartbeatMs: number;
  suspectAfterMs: number;
  downAfterMs: number;
  /** Of a mesh that lasts for one run: it ends when its coordinator is gone for good, and leaves no state on the host. */
  isTemporary?: boolean;
}

/** The system a binary is for. */
export interface Platform {
  os: "linux" | "darwin";
  arch: "x64" | "arm64";
  /** Of Linux only. */
  libc?: "glibc" | "musl";
  /** An x64 without AVX2, which needs a build of its own. */
  isBaseline?: boolean;
}

/** How a binary may be packed on its way. */
export type Packing = "gzip" | "zstd";

export interface PackedBinary {
  path: string;
  sizeBytes: number;
}

/** A binary of this very build, on this machine. */
export interface Binary {
  path: string;
  /** In hex, of the file at `path`. */
  sha256: string;
  sizeBytes: number;
  /** The same, packed; made when it is asked for the first time. */
  packed(format: Packing): Promise<PackedBinary>;
}

/** What a provider may ask of who uses it. */
export interface ProviderContext {
  mesh: { name: string; id: string };
  /** This build, for people and for comparison: "0.1.0 (1a2b3c4)". */
  build: string;
  /** Push: a certificate for the node of the host of that name, which keeps its key to itself. */
  certify(request: { publicKey: Uint8Array; name: string }): Promise<Joined>;
  /** Pull: lets the node of the host of that name join, once. */
  token(name: string): Promise<{ token: string; coordinators: string[] }>;
  /**
   * Has the coordinator reached over the SSH connections of this machine, by way of that socket on the host, from now on.
   * Throws why it cannot be.
   */
  tunnel(host: ProvidedHost, socketPath: string): Promise<void>;
  /** The binary for a host; made for its platform when it is another one than this machine's. Throws UNREACHABLE. */
  binary(platform: Platform): Promise<Binary>;
  /** What is going on, for people: "sending 12 of 52 MB". */
  progress(text: string): void;
  /** Aborted when the user gives up: nothing half-started may stay. */
  signal: AbortSignal;
  /** Somebody who can answer questions, on a terminal; undefined elsewhere. */
  person?: Person;
}

/** Somebody at a terminal. Questions of several hosts come one after the other; equal ones are asked once. */
export interface Person {
  confirm(question: string): Promise<boolean>;
  /** Text that is not shown. Undefined when nothing was given. */
  secret(question: string): Promise<string | undefined>;
}

/** What is on a host now, and what `start` would do about it. */
export interface Plan {
  action: "none" | "start" | "replace";
  /** For people, such as "send 52 MB", "start a worker with 8 slots". */
  steps: string[];
}

export interface Started {
  /** "unchanged": a worker of this build with these settings ran already. */
  outcome: "started" | "replaced" | "unchanged";
  /** Bytes that had to be sent for it. */
  sentBytes: number;
}

/** What a coordinator on a host is told of mesh.toml, and who may use it from here. */
export interface CoordinatorOrder {
  /** Undefined where mesh.toml does not say. */
  listen: readonly string[] | undefined;
  transports: readonly string[];
  timing: { heartbeatMs: number; suspectAfterMs: number; downAfterMs: number };
  leaseMs: number;
  rendezvous: RendezvousSettings;
  /** The user of this machine, who becomes a head of that name. */
  user: { publicKey: Uint8Array; name: string };
}

export interface CoordinatorStarted {
  outcome: "started" | "replaced" | "unchanged";
  sentBytes: number;
  /** The certificate of that user, and where the coordinator is. */
  joined: Joined;
}

/** A worker found on a host. */
export interface FoundWorker {
  mesh: string;
  name: string;
  pid: number;
  build: string;
}

export interface Stopped {
  /** "absent": nothing ran. */
  outcome: "stopped" | "absent";
  /** Folders that were removed. */
  removed: string[];
}

/** One thing that was looked at, and how it is. */
export interface Finding {
  /** What was looked at, in a word or two: "host key". */
  check: string;
  /** "warning": works, but not as well as it could. "problem": a worker will not start there, or not be of use. */
  state: "ok" | "warning" | "problem" | "skipped";
  words: string;
  /** What to do about it, and where. */
  fix?: string;
  /** Of a problem: what `start` would fail with. */
  code?: MeshErrorCode;
}

/** What became of a try to connect to an address such as "tcp://10.0.0.1:7450". */
export interface DialOutcome {
  address: string;
  /** Until it was connected. */
  tookMs?: number;
  /** Why it was not: the system's code, "ECONNREFUSED"; "ETIMEDOUT" when nothing answered. */
  code?: string;
}

/** What an examination may ask besides. */
export interface ExamineContext extends ProviderContext {
  /** What its worker has to reach: "the coordinator", "the worker gpu2". Empty when the mesh is not up. */
  goals: { what: string; addresses: string[] }[];
  /** Also what costs the host something: many logins at once. */
  isThorough: boolean;
}

/**
 * Starts and stops workers. Every call is about one host, ends within limits of its own, and throws a MeshError that names
 * the host, what was tried, and what to do: UNREACHABLE, AUTHENTICATION, TIMEOUT, CANCELLED, STORAGE or CONFIG.
 */
export interface Provider {
  /** Its name in mesh.toml: "ssh". */
  readonly name: string;
  /** Looks, and changes nothing. */
  plan(host: ProvidedHost, context: ProviderContext): Promise<Plan>;
  /** Resolves when the worker, or what else `worker.role` says, has joined the mesh. Doing it again changes nothing. */
  start(host: ProvidedHost, context: ProviderContext): Promise<Started>;
  /** Workers that run there, of this mesh. */
  list(host: ProvidedHost, context: ProviderContext): Promise<FoundWorker[]>;
  /** Ends the worker; `purge` removes all that mesh keeps on the host, too. */
  stop(host: ProvidedHost, options: { purge: boolean; graceMs: number }, context: ProviderContext): Promise<Stopped>;
  /**
   * Looks at all that a worker there needs, and changes nothing; one thing that is wrong hides no other. Throws CANCELLED alone.
   * A provider without it has nothing to tell.
   */
  examine?(host: ProvidedHost, context: ExamineContext): Promise<Finding[]>;
  /** For `[coordinator] host`: the mesh's coordinator on that host. Missing where a provider cannot do that. */
  startCoordinator?(host: ProvidedHost, order: CoordinatorOrder, context: ProviderContext): Promise<CoordinatorStarted>;
  /** Lets go of connections it keeps between calls. */
  close(): Promise<void>;
}
