// `mesh head`: the node a job's script belongs to. Started by `mesh run`, or by the coordinator for a detached job, and
// told everything by its arguments. Not for people.
import { randomBytes } from "node:crypto";
import { copyFileSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { type DetachedJob, DRIVER_FILE, JOB_FILE, WORKER_FILE } from "../../core/coordinator/submissions.ts";
import { MeshError } from "../../core/errors.ts";
import { FileHost } from "../../core/files/file-host.ts";
import { filesRoot } from "../../core/files/root.ts";
import { Head } from "../../core/job/head.ts";
import { silentLog } from "../../core/log.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import {
  type JobEnded,
  LOCAL_HOST,
  type StartJob,
  TERMINAL_SLOT,
  TERMINAL_SOCKET,
  terminalOf,
} from "../../core/worker/control.ts";
import { Guard } from "../../core/worker/guard.ts";
import { becomeSubreaper } from "../../core/worker/libc.ts";
import { makeRunFolder, removeRunFolder } from "../../core/worker/run-folder.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import type { NodeSettings } from "../mesh-settings.ts";
import { NO_MESH } from "../no-mesh.ts";
import { ownCommand } from "../own-command.ts";
import { addHost } from "./add-host.ts";
import type { HeadMembership } from "./head-membership.ts";
import { endSignal, foregroundLog, listenForSlots, newNode, userName } from "./node-process.ts";
import type { TemporaryCoordinator } from "./temporary-coordinator.ts";

const unix = new UnixTransport();

/** Serves one job until its terminal is gone, or, detached, until the job is over. */
export async function main([mesh, ...args]: string[]): Promise<number> {
  if (!mesh || args.length === 0) throw new MeshError("USAGE", "heads are started by mesh itself, by `mesh run`");
  becomeSubreaper();
  if (args[0] === "--detached") await serveDetached(mesh, args[1]!, Number(args[2]), JSON.parse(args[3]!));
  else await serveTerminal(mesh, args[0]!, Number(args[1]));
  return 0;
}

/** What a mesh needs is loaded only where there is one: a run on this machine alone starts faster without. */
async function membershipIn(...of: ConstructorParameters<typeof HeadMembership>): Promise<HeadMembership> {
  const { HeadMembership } = await import("./head-membership.ts");
  return new HeadMembership(...of);
}

async function serveTerminal(mesh: string, folder: string, number: number): Promise<void> {
  const node = newNode(number);
  const terminal = terminalOf(node.address.node);
  const over = Promise.withResolvers<string>();
  void endSignal().then((signal) => over.resolve(`its head was ended by ${signal}`));
  const shown = Promise.withResolvers<void>();
  // The mesh may have something to say before the terminal is there to hear it.
  const notice = (text: string) => void shown.promise.then(() => node.notify(terminal, MessageType.notice, { text }));
  let membership = mesh === NO_MESH ? undefined : await membershipIn(mesh, node, silentLog, notice);
  let own: TemporaryCoordinator | undefined;
  const files = new FileHost({ node, root: filesRoot(mesh === NO_MESH ? LOCAL_HOST : mesh) });
  // Before the first slot is started: on a busy machine it is faster than this process.
  await listenForSlots(node, unix, folder, (process) => head.connected(process));
  const head = new Head({
    node,
    folder,
    slotCommand: ownCommand("slot"),
    forkCommand: ownCommand("fork"),
    addHost: (host) => addHost(host, own?.mesh ?? mesh),
    makeMesh: async (keep) => {
      own ??= await startMesh(keep);
      membership = await membershipIn(own.mesh, node, silentLog, notice);
      membership.serve(head);
      const joined = await membership.join(headName());
      if (!joined) throw new MeshError("UNREACHABLE", "the mesh that was made for this job cannot be joined");
      return joined;
    },
    mesh: Promise.resolve(membership?.join(headName())),
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
    files.gone(peer);
    membership?.peerLost(peer, error);
  };
  try {
    node.join(await unix.dial(join(folder, TERMINAL_SOCKET)), terminal);
    shown.resolve();
    await head.endAll(await over.promise);
  } finally {
    await membership?.leave();
    await own?.end();
    // The terminal's process removes the folder; if it was killed nobody else does.
    removeRunFolder(folder);
  }
}

function headName(): string {
  return `run-${randomBytes(6).toString("hex")}`;
}

async function startMesh(keep: (pid: number) => void): Promise<TemporaryCoordinator> {
  const { TemporaryCoordinator } = await import("./temporary-coordinator.ts");
  return await TemporaryCoordinator.start(new AbortController().signal, keep);
}

async function serveDetached(mesh: string, jobFolder: string, number: number, settings: NodeSettings): Promise<void> {
  const job = JSON.parse(readFileSync(join(jobFolder, JOB_FILE), "utf8")) as DetachedJob;
  const folder = makeRunFolder();
  const guard = Guard.start(folder);
  const node = newNode(number);
  const over = Promise.withResolvers<JobEnded | undefined>();
  void endSignal().then(() => over.resolve(undefined));
  const log = foregroundLog();
  const files = new FileHost({ node, root: filesRoot(mesh) });
  const membership = await membershipIn(mesh, node, log, (text) => log.info("notice", { text }), settings);
  await listenForSlots(node, unix, folder, (process) => head.connected(process));
  const head = new Head({
    node,
    folder,
    slotCommand: ownCommand("slot"),
    forkCommand: ownCommand("fork"),
    addHost: (host) => addHost(host, mesh),
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
    files.gone(peer);
    membership.peerLost(peer, error);
  };
  try {
    await head.start(startOf(job, jobFolder, folder));
    if (!(await over.promise)) await head.endAll("its head was ended by a signal or a command");
  } finally {
    await membership.leave();
    removeRunFolder(folder);
    await guard?.dismiss();
  }
}

/** Copies the job's code to the run folder: the coordinator removes its own when it takes the job for lost. */
function startOf({ script, args, options }: DetachedJob, from: string, folder: string): StartJob {
  for (const name of [DRIVER_FILE, WORKER_FILE]) copyFileSync(join(from, name), join(folder, name));
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
