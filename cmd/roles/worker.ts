// `mesh worker`: lends this host's slots to the jobs of a mesh, in the foreground, until it is told to end.
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { Command, Option } from "@commander-js/extra-typings";
import type { ManagedWorker } from "../../core/bootstrap/managed-worker.ts";
import { parseSize } from "../../core/config/mod.ts";
import { filesRoot } from "../../core/files/root.ts";
import { joinedFolder } from "../../core/identity/state-folder.ts";
import type { Log } from "../../core/log.ts";
import type { Access } from "../../core/member/access.ts";
import { jobViewOf, nodesChanged } from "../../core/member/job-view.ts";
import type { Member } from "../../core/member/member.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { memoryLimiter } from "../../core/worker/cgroup.ts";
import { Guard } from "../../core/worker/guard.ts";
import { becomeSubreaper } from "../../core/worker/libc.ts";
import { makeRunFolder, removeRunFolder } from "../../core/worker/run-folder.ts";
import { Worker } from "../../core/worker/worker.ts";
import { noteRetired } from "../../core/worker/worker-file.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { meshSettings } from "../mesh-settings.ts";
import { meshOption, parsed, wholeNumber } from "../options.ts";
import { ownCommand } from "../own-command.ts";
import { accessFor, endWhenDeserted, lastingMember, type MemberSettings, runManaged } from "./lasting-member.ts";
import {
  advertiseOption,
  joinOption,
  type MemberCommandOptions,
  managedOption,
  nameOption,
  tokenFileOption,
} from "./member-options.ts";
import { endSignal, foregroundLog, listenForSlots, machineReport, newNode, nodeFacts } from "./node-process.ts";

interface WorkerOptions extends MemberCommandOptions {
  slots: number;
  slotMemory?: number;
  tag: string[];
  files?: string;
  filesLimit?: number;
}

export function command() {
  return new Command("worker")
    .description(
      "Lend this host's slots to the jobs of a mesh, in the foreground. A token of `mesh token --role worker` is needed the " +
        "first time, in MESH_TOKEN or --token-file; beside the coordinator none is.",
    )
    .addOption(joinOption())
    .addOption(nameOption("the host's name"))
    .addOption(
      new Option("--slots <count>", "how many tasks run side by side (default: one for each core)").argParser(
        wholeNumber(1, 4_096),
      ),
    )
    .addOption(
      new Option("--slot-memory <size>", 'memory each slot may use, such as "2G"').argParser(parsed(parseSize)),
    )
    .option("--tag <tag...>", "words by which jobs choose hosts")
    .option("--listen <address...>", "where other nodes may dial this one (default: any free port, TCP and UDP)")
    .addOption(advertiseOption())
    .option("--files <folder>", "where files are kept that jobs send (default: ~/.local/share/mesh/MESH/files)")
    .addOption(
      new Option("--files-limit <size>", 'the largest of them that is taken, such as "10G" (default: none)').argParser(
        parsed(parseSize),
      ),
    )
    .addOption(tokenFileOption())
    .addOption(meshOption())
    .addOption(managedOption())
    .action(async (options) => {
      process.exitCode = await run({
        ...options,
        slots: options.slots ?? availableParallelism(),
        tag: options.tag ?? [],
        advertise: options.advertise ?? [],
      } as WorkerOptions);
    });
}

async function run(given: WorkerOptions): Promise<number> {
  if (!given.managed) return await serve(given, await meshSettings(given.mesh));
  return await runManaged(given, (managed, settings) => {
    const { slots = given.slots, slotMemoryBytes: slotMemory, tags: tag } = managed.wanted.worker;
    const { listen, advertise = [] } = managed.wanted.worker;
    const options = { ...given, slots, tag, advertise, ...(slotMemory && { slotMemory }), ...(listen && { listen }) };
    return serve(options, settings, managed);
  });
}

async function serve(options: WorkerOptions, settings: MemberSettings, managed?: ManagedWorker): Promise<number> {
  becomeSubreaper();
  const unix = new UnixTransport();
  const access = await accessFor("worker", options, settings);
  const log = foregroundLog();
  const { identity, meshName } = access;
  const folder = makeRunFolder();
  const node = newNode();
  const over = Promise.withResolvers<string>();
  void endSignal({ hangup: managed === undefined }).then((signal) => over.resolve(signal));
  const { slots } = options;
  const isReached = (other: number) => other === node.address.node || node.hasPeer({ node: other, slot: 0 });
  const view = () => jobViewOf(member.nodes, { isReached, isUsed: isReached });
  const worker: Worker = new Worker({
    node,
    folder,
    slotCommand: ownCommand("slot"),
    name: identity.name,
    slotMemoryBytes: options.slotMemory,
    view: () => view(),
    log,
    files: { root: options.files ? resolve(options.files) : filesRoot(meshName), limitBytes: options.filesLimit },
    guard: Guard.start(folder),
  });
  const member: Member = lastingMember({
    ...{ access, settings, managed, node, log, listen: options.listen, advertise: options.advertise },
    facts: nodeFacts({ slots, tags: options.tag }),
    report: () => machineReport(worker.slotsUsed),
    changed: (changes) => worker.nodesChanged(nodesChanged(changes, view())),
  });
  node.onPeerLost = (peer, error) => {
    worker.peerLost(peer, error);
    member.peerLost(peer, error);
    if (!member.coordinator) managed?.is("lost");
  };
  process.on("SIGUSR1", () => void retire(worker, member, access, log).then(over.resolve));
  node.onProblem = (error) => log.warn("message not handled", { error: (error as Error).message });
  node.handle(MessageType.shutdown, () => over.resolve("the coordinator"));
  try {
    await listenForSlots(node, unix, folder, (slot) => worker.slotConnected(slot));
    const joined = member.start({ isPatient: true });
    joined.catch(() => {}); // told by the race, unless the end came first
    await Promise.race([joined, over.promise]);
    log.info("memory", { limits: memoryLimiter().description });
    log.info("ready", { name: identity.name, mesh: meshName, slots, listen: member.addresses.join(",") });
    if (managed?.wanted.worker.isTemporary) endWhenDeserted(member, () => over.resolve("its mesh being gone"));
    log.info("ending", { by: await over.promise });
  } finally {
    await worker.closeAll("its worker was stopped");
    await member.close();
    removeRunFolder(folder);
  }
  return 0;
}

/**
 * Makes room for a worker of another build that is about to come under the same name. Resolves when the last job here is
 * over, with words for that.
 */
async function retire(worker: Worker, member: Member, access: Access, log: Log): Promise<string> {
  log.info("retiring", { slotsUsed: worker.slotsUsed });
  const emptied = worker.retire();
  await member.retire();
  try {
    if (access.isSaved) noteRetired(joinedFolder(access.meshName, access.identity.name));
  } catch (error) {
    log.warn("not noted that it retires", { error: (error as Error).message });
  }
  await emptied;
  return "SIGUSR1: all its jobs are over";
}
