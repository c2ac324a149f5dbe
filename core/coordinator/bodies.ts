// What others send the coordinator: the bodies of its messages, as schemas and as types. Who only sends imports the
// types and loads nothing. What the coordinator answers is in answers.ts.
import * as z from "zod";
import { JOINING_ROLES, ROLES } from "../identity/names.ts";
import { bytes, duration, measure, moment, name, nodeId, text, whole, words } from "../wire/body-checks.ts";
import { ADDRESS_LIMIT_CHARS, WHY_LIMIT_CHARS } from "./path-report.ts";

export type * from "./answers.ts";

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;
const addresses = z.array(text(255)).max(32);
const names = z.array(name()).max(10_000);
const memory = z.object({ usedBytes: measure(2 ** 53), totalBytes: measure(2 ** 53) });
const roles = z.enum(ROLES);

/** node -> coordinator, request: here I am. Its id, name and role are those of its session. */
export const register = z.object({
  /** The machine's own name. */
  host: text(255),
  slots: whole(0, 65_534),
  cores: whole(1, 65_536),
  arch: text(32),
  memoryBytes: measure(2 ** 53),
  tags: z.array(text(64)).max(64),
  version: text(64),
  build: text(128),
  /** Where it listens. */
  addresses,
  /** When its process started, ms since 1970. */
  since: moment(),
  /** It takes no new jobs, has given up its name, and ends when the jobs it has are over. */
  retiring: z.exactOptional(z.literal(true)),
});
export type Register = z.infer<typeof register>;

/** node -> coordinator: {}; I missed a change, send me everything. */
export const askMembership = z.object({});

/** So many of its peers a node tells of. */
export const REPORTED_PEERS = 1_024;

/** So many of the pairs that it relays a rendezvous tells of, those that have sent the most. */
export const REPORTED_PAIRS = 64;

/** What a rendezvous did since it began, and `relays`, those of now. */
const rendezvous = z.object({
  /** Pairs that met. */
  introduced: measure(2 ** 53),
  relays: measure(2 ** 53),
  /** What it forwarded: of both kinds of relay, and of those by UDP. */
  bytes: measure(2 ** 53),
  packets: measure(2 ** 53),
  /** Packets that it did not forward, and those of them that were over the bytes a pair may send in a second. */
  dropped: measure(2 ** 53),
  overQuota: measure(2 ** 53),
  /** Requests for a relay that a limit kept from it. */
  refused: measure(2 ** 53),
  pairs: z.array(z.object({ nodes: z.tuple([nodeId(), nodeId()]), bytes: measure(2 ** 53) })).max(REPORTED_PAIRS),
});
export type RendezvousReport = z.infer<typeof rendezvous>;

/** node -> coordinator, every 2 s. */
export const report = z.object({
  slotsUsed: whole(0, 65_535),
  load1: measure(1e6),
  memory,
  peers: z
    .array(
      z.object({
        node: nodeId(),
        state: z.enum(["up", "suspect", "down"]),
        /** Missing: not measured yet. */
        rttMs: z.exactOptional(measure(HOUR_MS)),
        /** What carries it: "tcp", "ssh". */
        path: text(64),
        /** The address that was dialed, by whichever side, without secrets; missing where there is no path. */
        address: z.exactOptional(words(ADDRESS_LIMIT_CHARS)),
        /** How long that path has been in use. */
        sinceMs: z.exactOptional(duration(Number.MAX_SAFE_INTEGER)),
        /** Why there is no better path, in short words; missing where there is no better kind. */
        why: z.exactOptional(words(WHY_LIMIT_CHARS)),
      }),
    )
    .max(REPORTED_PEERS),
  /** Of a rendezvous alone. */
  rendezvous: z.exactOptional(rendezvous),
});
export type Report = z.infer<typeof report>;

/** node -> coordinator, request: tell that node where I listen, so that it dials me; answered with Introduced. */
export const introduce = z.object({
  /** Its id or its name. */
  node: z.union([nodeId(), name()]),
  addresses,
});
export type Introduce = z.infer<typeof introduce>;

/** node -> coordinator, request: a new certificate for the asker itself; answered with Certified. */
export const certify = z.object({
  /** SPKI, DER. */
  publicKey: bytes(1_024),
  role: z.exactOptional(roles),
  name: z.exactOptional(name()),
});
export type Certify = z.infer<typeof certify>;

const progress = z.object({
  label: words(1_000),
  done: measure(2 ** 53),
  total: z.exactOptional(measure(2 ** 53)),
  running: measure(2 ** 53),
  failed: z.exactOptional(measure(2 ** 53)),
  ratePerS: measure(1e15),
});

/** head -> coordinator, request: a job begins, or is under way after a restart of the coordinator; answered with JobBegun. */
export const beginJob = z.object({
  /** The number it has: from the command that submitted it, or from before a restart. */
  job: z.exactOptional(whole(1, 2 ** 48)),
  name: words(255),
  script: words(4_096),
  user: words(255),
  /** The machine's own name. */
  host: words(255),
  /** By its own clock; for a job the coordinator does not know any more. */
  startedAt: moment(),
  detached: z.boolean(),
});
export type BeginJob = z.infer<typeof beginJob>;

/** head -> coordinator, at most once a second: null when no long call is under way. */
export const jobProgress = z.object({
  progress: z.nullable(progress),
  /** Names of the nodes whose slots it has used. */
  nodes: z.exactOptional(names),
});
export type JobProgress = z.infer<typeof jobProgress>;

/** head -> coordinator, request: its job is over. */
export const endJob = z.object({
  exitCode: whole(-1, 255),
  cause: z.exactOptional(words(4_096)),
  /** It was ended by order of its user. */
  killed: z.exactOptional(z.boolean()),
  nodes: z.exactOptional(names),
});
export type EndJob = z.infer<typeof endJob>;

/** The largest output of a jobLog message, and of one record in it. */
export const LOG_BATCH_BYTES = MIB;

/** head -> coordinator, request (its reply is the credit for more): output of its job. */
export const jobLog = z.object({
  records: z
    .array(
      z.object({
        timeMs: moment(),
        /** The name of the node it comes from. */
        host: name(),
        /** 0 for the script, else the slot's seat. */
        seat: whole(0, 65_535),
        stream: z.enum(["stdout", "stderr"]),
        /** Whole lines. */
        bytes: bytes(LOG_BATCH_BYTES),
      }),
    )
    .max(10_000),
});
export type JobLog = z.infer<typeof jobLog>;
export type LogRecord = JobLog["records"][number];

/** client -> coordinator, request: run this without me; answered with {job}. */
export const submitJob = z.object({
  name: text(255),
  /** Where the script is on its author's machine, for messages and `import.meta`. */
  script: text(4_096),
  args: z.array(z.string().max(131_072)).max(10_000),
  user: text(255),
  host: text(255),
  /** Texts of the two bundles, in UTF-8. */
  driver: bytes(64 * MIB),
  worker: bytes(64 * MIB),
  options: z.object({
    slots: z.exactOptional(whole(1, 65_534)),
    slotMemoryBytes: z.exactOptional(measure(2 ** 53)),
    leaseMs: z.exactOptional(duration(24 * HOUR_MS)),
    /** Whether slots are started before the script asks for them. */
    eager: z.boolean(),
    hosts: z.exactOptional(names),
    tags: z.exactOptional(z.array(text(64)).max(64)),
  }),
});
export type SubmitJob = z.infer<typeof submitJob>;

/** A number, or a name: then the last job of that name. */
const jobRef = z.union([whole(1, 2 ** 48), text(255)]);

/** client -> coordinator, request; answered with Status. */
export const status = z.object({});

/** client -> coordinator, request: the last jobs, newest first; answered with {jobs}. */
export const jobs = z.object({ limit: z.exactOptional(whole(1, 1_000)) });

/** client -> coordinator, request: what a job printed; answered with {job, state}, then LogLines come. */
export const logs = z.object({
  job: jobRef,
  /** A number of the asker's own, that tells one stream of lines from another. */
  reader: whole(1, 0xffffffff),
  /** Goes on until the job is over. */
  follow: z.boolean(),
  /** Only of the node of that name. */
  host: z.exactOptional(text(255)),
  /** Only of that seat; 0 is the script. */
  slot: z.exactOptional(whole(0, 65_535)),
  stream: z.exactOptional(z.enum(["stdout", "stderr"])),
  /** Only the last so many lines of what is there. */
  tail: z.exactOptional(whole(0, 1_000_000)),
});
export type Logs = z.infer<typeof logs>;

/** client -> coordinator: no more of this. */
export const stopLogs = z.object({ reader: whole(1, 0xffffffff) });
export type StopLogs = z.infer<typeof stopLogs>;

const graceMs = z.exactOptional(duration(HOUR_MS));

/** client -> coordinator, request; answered with {jobs: KilledJob[]} when they are over. */
export const killJob = z.union([z.object({ job: jobRef, graceMs }), z.object({ all: z.literal(true), graceMs })]);
export type KillJob = z.infer<typeof killJob>;

/** client -> coordinator, request; answered with {nodes: names} when their sessions have ended. */
export const killNode = z.union([z.object({ name: text(255), graceMs }), z.object({ all: z.literal(true), graceMs })]);
export type KillNode = z.infer<typeof killNode>;

/** client -> coordinator, request; answered with Token. */
export const issueToken = z.object({
  role: z.enum(JOINING_ROLES),
  /** Only for a node of this name. */
  name: z.exactOptional(name()),
  ttlMs: z.exactOptional(duration(365 * 24 * HOUR_MS)),
});
export type IssueToken = z.infer<typeof issueToken>;

/**
 * client -> coordinator, request: a certificate for a node that the asker starts elsewhere, and whose key stays there;
 * answered with Joined (core/identity/join.ts). One that is in the mesh under that name is to be replaced by it.
 */
export const admit = z.object({
  /** SPKI, DER. */
  publicKey: bytes(1_024),
  role: z.enum(JOINING_ROLES),
  name: name(),
});
export type Admit = z.infer<typeof admit>;

/** client -> coordinator, request: the certificates of that name are worth nothing from now on; answered with {version}. */
export const revoke = z.object({ name: name() });
export type Revoke = z.infer<typeof revoke>;

/** client -> coordinator, request: a new CA; answered with {overlapUntil: ms since 1970, or null}. */
export const rotateCa = z.object({
  /** For so long what the old one signed is good; 0 when its key was stolen. */
  overlapMs: z.exactOptional(duration(10 * 366 * 24 * HOUR_MS)),
});
export type RotateCa = z.infer<typeof rotateCa>;
