// `mesh host`, asked to start a worker: leaves one alone that is as wanted, else gets a certificate, ends what runs there, and
// starts one.
import { MeshError } from "../errors.ts";
import { saveCredentials } from "../identity/credentials.ts";
import { checkCertified, type Joined } from "../identity/join.ts";
import { createKeyPair } from "../identity/keys.ts";
import { joinedFolder } from "../identity/state-folder.ts";
import type { DialOutcome, HostRole } from "../provider.ts";
import { tunnelPath } from "../tether/tunnel.ts";
import { lockHost } from "./host-lock.ts";
import { launch } from "./host-process.ts";
import type { HostWord, Order } from "./host-words.ts";
import { retire } from "./retire.ts";
import { liveRecord, type WantedWorker, type WorkerRecord, writeWanted } from "./worker-record.ts";

/** What the host's side of a conversation can do. */
export interface HostPort {
  /** Asks for a certificate for that key. */
  certify(publicKey: Uint8Array): Promise<Joined>;
  /** Says what is being done, when that is something else than before; without a text, that it still is. */
  progress(text?: string): void;
  /** Says, once, that the worker has not reached the coordinator so far, and where it looks for a tunnel. */
  unreached(tunnel: string, why: { code: string; message: string }): void;
  /** Tries to connect to an address. Never rejects. */
  dial(address: string, timeoutMs: number): Promise<DialOutcome>;
  /** Aborted when the other side is gone. */
  signal: AbortSignal;
  /** The command line of `mesh worker` or `mesh rendezvous` of this build. */
  command(role: HostRole): string[];
  build: string;
}

type StartOrder = Extract<Order, { op: "start" }>;
type Started = Extract<HostWord, { word: "started" }>;

/** A worker that lost its coordinator may come back by itself: it tries every 2 s. */
const RETURN_LIMIT_MS = 10_000;
const POLL_MS = 50;

const AWAY = { code: "UNREACHABLE", message: "what runs there does not reach the coordinator" };

export async function startWorker(order: StartOrder, port: HostPort): Promise<Started> {
  checkBuild(order, port);
  const { role = "worker" } = order.worker;
  const folder = joinedFolder(order.meshName, order.name);
  const waits = () => port.progress("waiting for another `mesh up` or `mesh down`");
  using _lock = await lockHost(folder, { signal: port.signal, waits });
  const wanted: WantedWorker = { meshId: order.meshId, build: order.build, worker: order.worker };
  const tunnel = tunnelPath(order.meshName, order.name);
  const running = await settled(folder, wanted, tunnel, port);
  if (running && isAsWanted(running, wanted)) return { word: "started", outcome: "unchanged", pid: running.pid };
  await getCertificate(folder, order, port);
  if (running) {
    port.progress(`ending the ${running.worker.role ?? "worker"} that runs there`);
    await retire(folder, running);
  }
  writeWanted(folder, wanted);
  port.progress(`starting the ${role}`);
  const command = [...port.command(role), "--managed", "--mesh", order.meshName, "--name", order.name];
  const unreached = (why: { code: string; message: string }) => port.unreached(tunnel, why);
  const pid = await launch({ role, folder, command, signal: port.signal, unreached });
  return { word: "started", outcome: running ? "replaced" : "started", pid };
}

function checkBuild({ build }: StartOrder, port: HostPort): void {
  if (build === port.build) return;
  const message = `the binary there is of build ${port.build}, and ${build} was to be started: run \`mesh up\` again`;
  throw new MeshError("PROTOCOL", message);
}

/** The worker that runs there, once it is in the mesh or has had its time to get there. */
async function settled(
  folder: string,
  wanted: WantedWorker,
  tunnel: string,
  port: HostPort,
): Promise<WorkerRecord | undefined> {
  const { signal, progress } = port;
  const end = performance.now() + RETURN_LIMIT_MS;
  for (;;) {
    const running = liveRecord(folder);
    if (!running || running.state === "ready" || !isOfKind(running, wanted) || performance.now() > end) return running;
    if (signal.aborted) throw new MeshError("CANCELLED", "the start of the worker was cancelled");
    progress(`waiting for the ${wanted.worker.role ?? "worker"} that runs there`);
    port.unreached(tunnel, running.failure ?? AWAY);
    await Bun.sleep(POLL_MS);
  }
}

function isAsWanted(record: WorkerRecord, wanted: WantedWorker): boolean {
  return record.state === "ready" && isOfKind(record, wanted);
}

function isOfKind({ meshId, build, worker }: WantedWorker, wanted: WantedWorker): boolean {
  return meshId === wanted.meshId && build === wanted.build && Bun.deepEquals(worker, wanted.worker);
}

/** The key is made here and stays here. */
async function getCertificate(
  folder: string,
  { meshName, meshId, name, worker: { role = "worker" } }: StartOrder,
  port: HostPort,
): Promise<void> {
  const { publicKey, keyPem } = createKeyPair();
  const joined = await port.certify(publicKey);
  const expected = { meshId, role, name, publicKey };
  const { certificatePem, caPem } = checkCertified(joined, expected, Date.now());
  const credentials = { certificatePem, caPem, keyPem };
  const { coordinators } = joined;
  saveCredentials(folder, { meshId, role, name, meshName, coordinators, credentials });
}
