// What `mesh up` and `mesh host` say to each other: one JSON object a line, over the input and output of `mesh host` on
// the host. `mesh host` is the binary that was sent, or this machine's own for the local provider; whatever else prints into
// that channel (a login's greeting) is no JSON object with "mesh": 1, and is passed over.
import type { Joined } from "../identity/join.ts";
import type { CoordinatorOrder, DialOutcome, FoundWorker, WorkerSettings } from "../provider.ts";

/** The version of this conversation; in every line, as "mesh". Another one's host is of another build: it is told apart so. */
export const HOST_WORDS_VERSION = 1;

/** The first line, to the host. */
export type Order =
  /** Starts a worker, detached from this conversation. One that runs with the same build and settings is left alone. */
  | { op: "start"; meshName: string; meshId: string; name: string; build: string; worker: WorkerSettings }
  /** Ends it; `purge` removes the mesh's state on the host and the caches of binaries. */
  | { op: "stop"; meshName: string; name: string; graceMs: number; purge: boolean }
  | { op: "list"; meshName: string }
  /** Starts the mesh's coordinator, and has it admit a head: the user who asks. Its key in base64. */
  | {
      op: "coordinate";
      meshName: string;
      build: string;
      settings: Omit<CoordinatorOrder, "user">;
      user: { publicKey: string; name: string };
    }
  /** Connects to each address and hangs up, for `mesh doctor`: tells which can be reached from there. */
  | { op: "dial"; addresses: string[] };

/** From the host. The last one is a result or `failed`. */
export type HostWord =
  /** It made a key (base64 of its SubjectPublicKeyInfo) and wants a certificate: the answer is a Certificate line. The key stays there. */
  | { word: "certify"; publicKey: string }
  /** The worker has not reached the coordinator so far, and goes on trying: also through a tunnel, when one is laid to that path. */
  | { word: "unreached"; tunnel: string; code: string; message: string }
  /** What it is doing, for people. */
  | { word: "progress"; text: string }
  | { word: "started"; outcome: "started" | "replaced" | "unchanged"; pid: number }
  | { word: "stopped"; outcome: "stopped" | "absent"; removed: string[] }
  | { word: "workers"; workers: FoundWorker[] }
  | { word: "coordinates"; outcome: "started" | "replaced" | "unchanged"; joined: Joined }
  | { word: "dialed"; outcomes: DialOutcome[] }
  /** `code` is one of MeshError's. */
  | { word: "failed"; code: string; message: string };

/** To the host, in answer to `certify`. */
export interface Certificate {
  joined: Joined;
}
