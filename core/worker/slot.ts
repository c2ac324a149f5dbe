// A slot: the process in which a job's code runs, be it the script or its tasks. Loads the bundle and serves.
import { hostname, totalmem } from "node:os";
import { join } from "node:path";
import { setJobContext } from "../api/context.ts";
import { Scheduler } from "../api/scheduler.ts";
import { installRegistry, type JobRegistry } from "../job/registry.ts";
import * as api from "../mod.ts";
import { Node } from "../node/node.ts";
import type { Transport } from "../transport.ts";
import { Codec } from "../wire/codec.ts";
import { MessageType } from "../wire/message-types.ts";
import { AGENT, AGENT_SOCKET, HEAD, type LoadJob, slotPage, slotSocket } from "./control.ts";
import { ProgressReport } from "./progress-report.ts";
import { StatusPage } from "./status-page.ts";
import { TaskRunner } from "./task-runner.ts";

export interface SlotOptions {
  folder: string;
  slot: number;
  transport: Transport;
}

/** Connects to the agent and serves until that is gone. Throws UNREACHABLE when it is not there. */
export async function startSlot({ folder, slot, transport }: SlotOptions): Promise<void> {
  const registry = installRegistry();
  const node = new Node({ node: AGENT.node, slot }, new Codec(registry));
  node.hold(); // until the script is over, or for good
  await transport.listen(join(folder, slotSocket(slot)), (link) => node.accept(link));
  node.handleRequest(MessageType.load, (job: LoadJob) => load(job, { folder, slot, transport }, node, registry));
  node.onPeerLost = (peer) => {
    if (peer.slot === AGENT.slot) process.exit(1);
  };
  node.join(await transport.dial(join(folder, AGENT_SOCKET)), AGENT, true);
}

/** Sets the API up and loads the code; for the script itself returns before it has run. */
async function load(job: LoadJob, options: SlotOptions, node: Node, registry: JobRegistry): Promise<void> {
  const page = StatusPage.open(join(options.folder, slotPage(options.slot)));
  const runner = new TaskRunner(node, registry, page);
  const scheduler = new Scheduler({
    node,
    agent: AGENT,
    defaultSlots: job.slots,
    ownSeat: job.seat || undefined,
    dial: (address) => options.transport.dial(address),
    notice: (text) => node.notify(HEAD, MessageType.notice, { text }),
  });
  if (job.showsProgress && job.role === "driver") new ProgressReport(node, scheduler);
  node.onPeerLost = (peer) => {
    if (peer.slot === AGENT.slot) process.exit(1);
    scheduler.peerLost(peer);
    runner.forget(peer);
  };
  node.onDrained = (peer) => scheduler.peerDrained(peer);
  // biome-ignore lint/suspicious/noConsole: a slot's stderr is how it reports to people
  node.onProblem = (error) => console.error("mesh:", error);
  setJobContext({
    node,
    scheduler,
    describeFunction: (fn) => registry.describeFunction(fn),
    localNames: (fn) => registry.localNames(fn),
    callDepth: () => runner.callDepth,
    self: { node: job.host, slot: job.seat, isDriver: job.role === "driver", job: 1 },
    nodes: async () => [thisMachine(job)],
    args: Object.freeze(job.args),
  });
  (globalThis as Record<symbol, unknown>)[Symbol.for("mesh.api")] = api;
  process.argv = [process.execPath, job.script, ...job.args];
  if (job.role === "driver") queueMicrotask(() => void runScript(job.driver, node));
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

function thisMachine(job: LoadJob): api.NodeInfo {
  return {
    name: job.host,
    host: hostname(),
    slots: job.slots,
    cores: navigator.hardwareConcurrency,
    arch: process.arch,
    memoryBytes: totalmem(),
  };
}
