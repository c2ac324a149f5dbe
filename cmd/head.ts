// `mesh head`: the node a job's script belongs to. Started by `mesh run`, or by the coordinator for a detached job, and
// told everything by its arguments. Not for people.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { type DetachedJob, DRIVER_FILE, JOB_FILE, WORKER_FILE } from "../core/coordinator/submissions.ts";
import { MeshError } from "../core/errors.ts";
import { identityFrom } from "../core/identity/identity.ts";
import { checkCertified } from "../core/identity/join.ts";
import { createKeyPair } from "../core/identity/keys.ts";
import { Head, type HeadMesh } from "../core/job/head.ts";
import { MeshJob } from "../core/job/mesh-job.ts";
import type { Log } from "../core/log.ts";
import { type Access, joinedAccess, localAccess } from "../core/member/access.ts";
import { jobViewOf } from "../core/member/job-view.ts";
import { Member } from "../core/member/member.ts";
import type { Node } from "../core/node/node.ts";
import { MessageType } from "../core/wire/message-types.ts";
import { type JobEnded, type StartJob, TERMINAL_SLOT, TERMINAL_SOCKET, terminalOf } from "../core/worker/control.ts";
import { Guard } from "../core/worker/guard.ts";
import { becomeSubreaper } from "../core/worker/libc.ts";
import { makeRunFolder, removeRunFolder } from "../core/worker/run-folder.ts";
import { UnixTransport } from "../transports/unix/unix-transport.ts";
import { meshSettings } from "./mesh-settings.ts";
import { NO_MESH } from "./no-mesh.ts";
import {
  buildName,
  endSignal,
  foregroundLog,
  listenForSlots,
  machineReport,
  newNode,
  nodeFacts,
  silentLog,
  userName,
} from "./node-process.ts";
import { ownCommand } from "./own-command.ts";
import { meshTransport } from "./transport.ts";

const unix = new UnixTransport();

/** Serves one job until its terminal is gone, or, detached, until the job is over. */
export async function main([mesh, ...args]: string[]): Promise<number> {
  if (!mesh || args.length === 0) throw new MeshError("USAGE", "heads are started by mesh itself, by `mesh run`");
  becomeSubreaper();
  if (args[0] === "--detached") await serveDetached(mesh, args[1]!, Number(args[2]));
  else await serveTerminal(mesh, args[0]!, Number(args[1]));
  return 0;
}

async function serveTerminal(mesh: string, folder: string, number: number): Promise<void> {
  const node = newNode(number);
  const terminal = terminalOf(node.address.node);
  const over = Promise.withResolvers<string>();
  void endSignal().then((signal) => over.resolve(`its head was ended by ${signal}`));
  const shown = Promise.withResolvers<void>();
  // The mesh may have something to say before the terminal is there to hear it.
  const notice = (text: string) => void shown.promise.then(() => node.notify(terminal, MessageType.notice, { text }));
  const membership = mesh === NO_MESH ? undefined : new Membership(mesh, node, silentLog, notice);
  // Before the first slot is started: on a busy machine it is faster than this process.
  await listenForSlots(node, unix, folder, (process) => head.connected(process));
  const head = new Head({
    node,
    folder,
    slotCommand: ownCommand("slot"),
    forkCommand: ownCommand("fork"),
    mesh: Promise.resolve(membership?.join(`run-${randomBytes(6).toString("hex")}`)),
    owner: { user: userName(), host: hostname() },
    output: (output) => node.request(terminal, MessageType.output, output),
    notice,
    progress: (state) => void node.notify(terminal, MessageType.progress, state),
    ended: (ended) => void shown.promise.then(() => node.notify(terminal, MessageType.jobEnded, ended)),
  });
  membership?.serve(head);
  node.handle(MessageType.shutdown, () => over.resolve("its node was shut down by a command"));
  node.onPeerLost = (peer, error) => {
    if (peer.node === node.address.node && peer.slot === TERMINAL_SLOT) over.resolve("its terminal is gone");
    else head.peerLost(peer, error);
    membership?.peerLost(peer, error);
  };
  try {
    node.join(await unix.dial(join(folder, TERMINAL_SOCKET)), terminal);
    shown.resolve();
    await head.endAll(await over.promise);
  } finally {
    await membership?.leave();
    // The terminal's process removes the folder; if it was killed nobody else does.
    removeRunFolder(folder);
  }
}

async function serveDetached(mesh: string, jobFolder: string, number: number): Promise<void> {
  const job = JSON.parse(readFileSync(join(jobFolder, JOB_FILE), "utf8")) as DetachedJob;
  const folder = makeRunFolder();
  const guard = Guard.start(folder);
  const node = newNode(number);
  const over = Promise.withResolvers<JobEnded | undefined>();
  void endSignal().then(() => over.resolve(undefined));
  const log = foregroundLog();
  const membership = new Membership(mesh, node, log, (text) => log.info("notice", { text }));
  await listenForSlots(node, unix, folder, (process) => head.connected(process));
  const head = new Head({
    node,
    folder,
    slotCommand: ownCommand("slot"),
    forkCommand: ownCommand("fork"),
    mesh: membership.join(job.head, job.job),
    owner: { user: job.user, host: job.host },
    output: async () => {},
    notice: (text) => log.info("notice", { text }),
    progress: () => {},
    ended: (ended) => over.resolve(ended),
    guard,
  });
  membership.serve(head);
  node.handle(MessageType.shutdown, () => over.resolve(undefined));
  node.onPeerLost = (peer, error) => {
    head.peerLost(peer, error);
    membership.peerLost(peer, error);
  };
  try {
    await head.start(startOf(job, jobFolder));
    if (!(await over.promise)) await head.endAll("its head was ended by a signal or a command");
  } finally {
    await membership.leave();
    removeRunFolder(folder);
    await guard?.dismiss();
  }
}

function startOf({ script, args, options }: DetachedJob, folder: string): StartJob {
  return {
    driver: join(folder, DRIVER_FILE),
    worker: join(folder, WORKER_FILE),
    script,
    args,
    slots: options.slots ?? navigator.hardwareConcurrency,
    ...(options.slotMemoryBytes !== undefined && { slotMemoryBytes: options.slotMemoryBytes }),
    eager: options.eager,
    showsProgress: true,
  };
}

/** As who joined from here, but of another name: several jobs may run side by side. */
async function derivedAccess(joined: Access): Promise<Access> {
  const { connect } = await import("./client.ts");
  const { publicKey, keyPem } = createKeyPair();
  const { meshId, role, name } = joined.identity;
  const own = { meshId, role, name: `${name}.${randomBytes(4).toString("hex")}`, publicKey };
  await using client = await connect(joined, await meshSettings(joined.meshName));
  const answer = await client.ask(MessageType.certify, { publicKey, role, name: own.name }, { timeoutMs: 10_000 });
  const { certificatePem, caPem } = checkCertified(answer, own, Date.now());
  return { ...joined, identity: identityFrom({ certificatePem, caPem, keyPem }), isSaved: false };
}

/** The head's place in the mesh, from before it is known whether there is one. */
class Membership {
  readonly #mesh: string;
  readonly #node: Node;
  readonly #log: Log;
  readonly #notice: (text: string) => void;
  #member: Member | undefined;
  #job: MeshJob | undefined;
  #head: Head | undefined;

  constructor(mesh: string, node: Node, log: Log, notice: (text: string) => void) {
    this.#mesh = mesh;
    this.#node = node;
    this.#log = log;
    this.#notice = notice;
  }

  serve(head: Head): void {
    this.#head = head;
  }

  /** Joins as `name`. Without a mesh that is up an attached job is told so and runs here; a detached one cannot. */
  async join(name: string, detached?: number): Promise<HeadMesh | undefined> {
    try {
      const access = await this.#access(name);
      const member = await this.#start(access);
      const job = new MeshJob({
        node: this.#node,
        host: access.identity.name,
        coordinator: () => (member.isConnected ? member.coordinator : undefined),
        notice: this.#notice,
        disowned: (reason) => void this.#head?.stop({ signal: "SIGTERM", now: true }, reason),
      });
      this.#job = job;
      return {
        name: access.identity.name,
        view: () => jobViewOf(member.nodes, (node) => this.#node.hasPeer({ node, slot: 0 })),
        job,
        detached,
      };
    } catch (error) {
      if (detached !== undefined) throw error;
      this.#notice(`${(error as Error).message}. This run uses this machine alone`);
      return undefined;
    }
  }

  peerLost(...lost: Parameters<Member["peerLost"]>): void {
    this.#member?.peerLost(...lost);
  }

  async leave(): Promise<void> {
    await this.#member?.close();
  }

  async #access(name: string): Promise<Access> {
    const local = await localAccess(unix, this.#mesh, "head", name);
    if (local) return local;
    const joined = joinedAccess(this.#mesh, "head");
    if (joined) return await derivedAccess(joined);
    const { notUp } = await import("./client.ts");
    throw notUp({ name: this.#mesh, file: undefined });
  }

  async #start(access: Access): Promise<Member> {
    const { timing } = await meshSettings(this.#mesh);
    const member: Member = new Member({
      ...access,
      node: this.#node,
      transport: meshTransport({ credentials: () => member.credentials }),
      listen: ["tcp://[::]:0"],
      build: buildName(),
      timing,
      clock: systemClock,
      log: this.#log,
      facts: nodeFacts({ slots: 0 }),
      report: () => machineReport(0),
      changed: (changes) => this.#head?.meshChanged(changes),
      registered: () => void this.#job?.again(),
    });
    this.#member = member;
    await member.start();
    return member;
  }
}
