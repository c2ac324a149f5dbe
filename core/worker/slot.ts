// A slot: the process in which a job's code runs, be it the script or its tasks. Loads the bundle and serves.
import { dirname, join } from "node:path";
import { setJobContext } from "../api/context.ts";
import { serveHandles } from "../api/handle-services.ts";
import { NodeView } from "../api/node-view.ts";
import { Scheduler } from "../api/scheduler.ts";
import { installRegistry, type JobRegistry } from "../job/registry.ts";
import * as api from "../mod.ts";
import { Node } from "../node/node.ts";
import type { Transport } from "../transport.ts";
import { Codec } from "../wire/codec.ts";
import { MessageType } from "../wire/message-types.ts";
import {
  type LoadJob,
  NODE_SOCKET,
  type NodesChanged,
  nodeAddress,
  slotPage,
  slotSocket,
  type UserGone,
} from "./control.ts";
import { ProgressReport } from "./progress-report.ts";
import { StatusPage } from "./status-page.ts";
import { TaskRunner } from "./task-runner.ts";

export interface SlotOptions {
  folder: string;
  /** The number of the node it belongs to. */
  node: number;
  slot: number;
  transport: Transport;
}

/** Connects to its node and serves until that is gone. Throws UNREACHABLE when it is not there. */
export async function startSlot(options: SlotOptions): Promise<void> {
  const { folder, slot, transport } = options;
  const registry = installRegistry();
  const own = nodeAddress(options.node);
  const node = new Node({ node: own.node, slot }, new Codec(registry));
  node.hold(); // until the script is over, or for good
  await transport.listen(join(folder, slotSocket(slot)), (link) => node.accept(link));
  node.handleRequest(MessageType.alive, () => undefined);
  node.handleRequest(MessageType.load, (job: LoadJob) => load(job, options, node, registry));
  node.onPeerLost = (peer) => {
    if (peer.slot === own.slot) process.exit(1);
  };
  node.join(await transport.dial(join(folder, NODE_SOCKET)), own, true);
}

/** Sets the API up and loads the code; for the script itself returns before it has run. */
async function load(job: LoadJob, options: SlotOptions, node: Node, registry: JobRegistry): Promise<void> {
  const own = nodeAddress(options.node);
  const head = nodeAddress(job.job);
  const page = StatusPage.open(join(options.folder, slotPage(options.slot)));
  const runner = new TaskRunner(node, registry, page);
  const scheduler = new Scheduler({
    node,
    job: job.job,
    hosts: job.hosts,
    ...(job.seat > 0 && { ownSeat: { node: own.node, seat: job.seat } }),
    openHost: async (host) => {
      await node.request(head, MessageType.openHost, { node: host }, { keepsProcess: false });
    },
    dial: (address) => options.transport.dial(address),
    notice: (text) => node.notify(head, MessageType.notice, { text }),
  });
  serveHandles({ node, name: `${job.host}/${job.seat}`, folder: dirname(job.worker) });
  const view = new NodeView(job.nodes);
  if (job.showsProgress && job.role === "driver") new ProgressReport(node, scheduler, head);
  node.onPeerLost = (peer) => {
    if (peer.slot === own.slot) process.exit(1);
    scheduler.peerLost(peer);
    runner.forget(peer);
  };
  node.handle(MessageType.userGone, ({ payload }) => {
    const { user, reason } = node.codec.decode(payload) as UserGone;
    if (node.hasPeer(user)) return; // the end of its link tells, after what it still says
    node.processGone(user, new Error(`it ${reason}`));
    runner.forget(user);
  });
  node.handle(MessageType.nodesChanged, ({ payload }) => {
    const { lost, hosts, nodes } = node.codec.decode(payload) as NodesChanged;
    for (const { node: number, reason } of lost) {
      node.nodeGone(number, new Error(reason));
      scheduler.hostLost(number, reason);
    }
    scheduler.hostsChanged(hosts);
    view.update(nodes);
  });
  node.onDrained = (peer) => scheduler.peerDrained(peer);
  // biome-ignore lint/suspicious/noConsole: a slot's stderr is how it reports to people
  node.onProblem = (error) => console.error("mesh:", error);
  setJobContext({
    node,
    scheduler,
    describeFunction: (fn) => registry.describeFunction(fn),
    localNames: (fn) => registry.localNames(fn),
    callDepth: () => runner.callDepth,
    head,
    self: { node: job.host, slot: job.seat, isDriver: job.role === "driver", job: job.number },
    view,
    args: Object.freeze(job.args),
  });
  (globalThis as Record<symbol, unknown>)[Symbol.for("mesh.api")] = api;
  process.argv = [process.execPath, job.script, ...job.args];
  if (job.role === "driver") queueMicrotask(() => void runScript(job.driver!, node));
  else await import(job.worker);
}

/** Runs the script; the process then ends by itself when nothing is left to do, like any script's. */
async function runScript(bundle: string, node: Node): Promise<void> {
  try {
    await import(bundle);
    node.release();
  } catch (error) {
    // biome-ignore lint/suspicious/noConsole: the script's own error, on the script's own stderr
    console.error(error);
    process.exit(process.exitCode || 1);
  }
}
