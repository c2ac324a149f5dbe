// `mesh worker`: lends this host's slots to the jobs of a mesh, in the foreground, until it is told to end.
import { availableParallelism, hostname } from "node:os";
import { resolve } from "node:path";
import { Command, Option } from "@commander-js/extra-typings";
import { ManagedWorker } from "../../core/bootstrap/managed-worker.ts";
import { systemClock } from "../../core/clock.ts";
import { parseSize } from "../../core/config/mod.ts";
import { BUILTIN_TRANSPORTS } from "../../core/config/transports.ts";
import { MeshError } from "../../core/errors.ts";
import { filesRoot } from "../../core/files/root.ts";
import { joinedFolder, removeJoined } from "../../core/identity/state-folder.ts";
import { Trust } from "../../core/identity/trust.ts";
import type { Log } from "../../core/log.ts";
import { type Access, joinedAccess, localAccess } from "../../core/member/access.ts";
import { jobViewOf, nodesChanged } from "../../core/member/job-view.ts";
import { defaultListening } from "../../core/member/listening.ts";
import { Member } from "../../core/member/member.ts";
import { Tunnel, tunnelPath } from "../../core/tether/tunnel.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { memoryLimiter } from "../../core/worker/cgroup.ts";
import { Guard } from "../../core/worker/guard.ts";
import { becomeSubreaper } from "../../core/worker/libc.ts";
import { makeRunFolder, removeRunFolder } from "../../core/worker/run-folder.ts";
import { Worker } from "../../core/worker/worker.ts";
import { noteRetired } from "../../core/worker/worker-file.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { type MeshSettings, meshSettings } from "../mesh-settings.ts";
import { nodeTransport } from "../node-transport.ts";
import { meshOption, nodeName, parsed, wholeNumber } from "../options.ts";
import { ownCommand } from "../own-command.ts";
import { coordinatorAddresses, isTokenOf, joinAs, nameOf, saveRenewed, tokenFrom } from "./joining.ts";
import {
  buildName,
  endSignal,
  foregroundLog,
  listenForSlots,
  machineReport,
  newNode,
  nodeFacts,
} from "./node-process.ts";

interface WorkerOptions {
  join?: string[];
  name?: string;
  slots: number;
  slotMemory?: number;
  tag: string[];
  listen?: string[];
  advertise: string[];
  files?: string;
  filesLimit?: number;
  tokenFile?: string;
  mesh?: string;
  managed?: boolean;
}

export function command() {
  return (
    new Command("worker")
      .description(
        "Lend this host's slots to the jobs of a mesh, in the foreground. A token of `mesh token --role worker` is needed the " +
          "first time, in MESH_TOKEN or --token-file; beside the coordinator none is.",
      )
      .option(
        "--join <address...>",
        'addresses of the coordinator, such as "tcp://10.0.0.1:7450", or "discover" on its LAN',
      )
      .addOption(new Option("--name <name>", "unique in the mesh (default: the host's name)").argParser(nodeName))
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
      .option("--advertise <address...>", "what to tell them instead, when a router forwards a port to here")
      .option("--files <folder>", "where files are kept that jobs send (default: ~/.local/share/mesh/MESH/files)")
      .addOption(
        new Option(
          "--files-limit <size>",
          'the largest of them that is taken, such as "10G" (default: none)',
        ).argParser(parsed(parseSize)),
      )
      .option("--token-file <path>", "a file that holds the token")
      .addOption(meshOption())
      // By `mesh host` of `mesh up`: what it is to be is in its joined folder, and there it says how it stands.
      .addOption(new Option("--managed").hideHelp())
      .action(async (options) => {
        process.exitCode = await run({
          ...options,
          slots: options.slots ?? availableParallelism(),
          tag: options.tag ?? [],
          advertise: options.advertise ?? [],
        } as WorkerOptions);
      })
  );
}

async function run(given: WorkerOptions): Promise<number> {
  const managed = given.managed ? managedWorker(given) : undefined;
  if (!managed) return await serve(given, await meshSettings(given.mesh));
  try {
    managed.is("joining");
    const { worker } = managed.wanted;
    const { slots = given.slots, slotMemoryBytes: slotMemory, tags: tag, listen, advertise = given.advertise } = worker;
    const options = { ...given, slots, tag, advertise, ...(slotMemory && { slotMemory }), ...(listen && { listen }) };
    const { transports = BUILTIN_TRANSPORTS, heartbeatMs, suspectAfterMs, downAfterMs } = worker;
    const settings = { name: given.mesh!, transports, timing: { heartbeatMs, suspectAfterMs, downAfterMs } };
    const status = await serve(options, settings, managed);
    if (managed.ended() && managed.wanted.worker.isTemporary) removeJoined(given.mesh!, given.name!);
    return status;
  } catch (error) {
    managed.failed(error);
    throw error;
  }
}

function managedWorker({ mesh, name }: WorkerOptions): ManagedWorker {
  const managed = mesh && name ? ManagedWorker.open(joinedFolder(mesh, name)) : undefined;
  if (!managed) throw new MeshError("USAGE", "managed workers are started by `mesh up`");
  return managed;
}

type Settings = Pick<MeshSettings, "name" | "timing" | "transports">;

async function serve(options: WorkerOptions, settings: Settings, managed?: ManagedWorker): Promise<number> {
  becomeSubreaper();
  const { timing, transports } = settings;
  const unix = new UnixTransport();
  const access = await accessFor(options, settings, unix);
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
  // Whoever reaches this host by SSH may have it use the channel for what it cannot dial itself.
  const tunnel = access.isSaved ? new Tunnel(tunnelPath(meshName, identity.name), systemClock) : undefined;
  const member: Member = new Member({
    ...access,
    node,
    transport: nodeTransport({
      credentials: () => member.credentials,
      transports,
      ...(tunnel && { tunnel: tunnel.path }),
    }),
    waysTo: (addresses) => tunnel?.waysTo(addresses) ?? addresses,
    ...(options.listen ? { listen: options.listen } : defaultListening(transports)),
    advertise: options.advertise,
    build: buildName(),
    timing,
    clock: systemClock,
    log,
    facts: nodeFacts({ slots, tags: options.tag }),
    report: () => machineReport(worker.slotsUsed),
    save: (credentials) => member.isRetiring || saveRenewed(access, credentials),
    changed: (changes) => worker.nodesChanged(nodesChanged(changes, view())),
    registered: () => managed?.is("ready"),
    notReached: (error) => {
      if (!managed) return;
      managed.notReached(error);
      tunnel?.expect(); // `mesh host` tells `mesh up`, which lays one
    },
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

/** A mesh that lasts for one run has no other coordinator to wait for. */
function endWhenDeserted(member: Member, end: () => void): void {
  let sinceMs = systemClock.now();
  const look = () => {
    if (member.isConnected) sinceMs = systemClock.now();
    if (systemClock.now() - sinceMs >= DESERTED_AFTER_MS) end();
    else systemClock.after(DESERTION_LOOK_MS, look);
  };
  look();
}

const DESERTED_AFTER_MS = 60_000;
const DESERTION_LOOK_MS = 1_000;

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

/**
 * Joins with a token when one is given and was not used here before, else comes back as who joined before, else by the
 * coordinator on this machine.
 */
async function accessFor(options: WorkerOptions, settings: Settings, unix: UnixTransport): Promise<Access> {
  const name = options.name ?? nameOf(hostname());
  const known = joinedAccess(settings.name, "worker", name);
  const token = tokenFrom(options.tokenFile, known !== undefined);
  const isNew = token && !(known && isTokenOf(token, known));
  if (options.join && isNew) return await joinAs("worker", name, options.join, token);
  if (known) return { ...known, coordinators: await knownAddresses(known, options.join) };
  const local = options.join ? undefined : await localAccess(unix, settings.name, "worker", name);
  if (local) return local;
  const how =
    "run `mesh token --role worker` where the coordinator runs, and start this worker with --join ADDRESS and the token in MESH_TOKEN";
  const why = options.join
    ? "a token is needed to join the first time"
    : `no coordinator of the mesh ${settings.name} runs on this machine`;
  throw new MeshError(options.join ? "AUTHENTICATION" : "UNREACHABLE", `${why}: ${how}`);
}

/** Where to look for the coordinator of a mesh that this node belongs to. */
async function knownAddresses({ identity, coordinators }: Access, given: string[] | undefined): Promise<string[]> {
  if (!given) return coordinators;
  return await coordinatorAddresses(given, identity.meshId, { trust: new Trust(identity.credentials.caPem) });
}
