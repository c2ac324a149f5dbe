// `mesh coordinator`: the node that knows who is in the mesh and which jobs run, in the foreground.
import { rmSync } from "node:fs";
import { Command, Option } from "@commander-js/extra-typings";
import { FileHost } from "../../core/files/file-host.ts";
import { stateFolder } from "../../core/identity/state-folder.ts";
import { CoordinatorServer } from "../../core/member/coordinator-server.ts";
import { becomeSubreaper } from "../../core/worker/libc.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { coordinatorListening, type MeshSettings, meshSettings } from "../mesh-settings.ts";
import { nodeTransport } from "../node-transport.ts";
import { meshOption } from "../options.ts";
import { version } from "../version.ts";
import { startDetachedHead } from "./detached-head.ts";
import { advertiseOption } from "./member-options.ts";
import { buildName, endSignal, foregroundLog, newNode } from "./node-process.ts";

export function command() {
  return (
    new Command("coordinator")
      .description(
        "Be the coordinator of a mesh, in the foreground: it knows the nodes, hands out certificates, and keeps the history and logs of jobs. " +
          "Makes the mesh when there is none yet.",
      )
      .option("--listen <address...>", "where to listen (default: as mesh.toml says, else on port 7450, TCP and UDP)")
      .addOption(advertiseOption())
      .option(
        "--discoverable",
        "tell nodes of the LAN, by signed beacons, where it listens (mesh worker --join discover)",
      )
      .addOption(new Option("--temporary", "of `mesh run --hosts`: the mesh ends with standard input").hideHelp())
      .addOption(new Option("--any-port", "where nobody says where to listen: at any free port").hideHelp())
      // By `mesh up`, which has read mesh.toml: where this runs there may be none.
      .addOption(new Option("--settings <json>").argParser((text): CoordinatorSettings => JSON.parse(text)).hideHelp())
      .addOption(meshOption())
      .action(async (options) => {
        process.exitCode = await run(options);
      })
  );
}

/** What a coordinator takes from mesh.toml. */
export type CoordinatorSettings = Pick<
  MeshSettings,
  "name" | "listen" | "transports" | "timing" | "leaseMs" | "rendezvous"
>;

interface CoordinatorOptions {
  listen?: string[] | undefined;
  advertise?: string[] | undefined;
  mesh?: string | undefined;
  discoverable?: boolean | undefined;
  temporary?: true | undefined;
  anyPort?: true | undefined;
  settings?: CoordinatorSettings | undefined;
}

async function run(options: CoordinatorOptions): Promise<number> {
  const settings = options.settings ?? (await meshSettings(options.mesh));
  const listening = options.listen ? { listen: options.listen } : coordinatorListening(settings, options.anyPort && 0);
  becomeSubreaper();
  const folder = stateFolder(settings.name);
  const log = foregroundLog();
  const over = Promise.withResolvers<string>();
  void endSignal().then((signal) => over.resolve(signal));
  const node = newNode();
  const files = new FileHost({ node });
  node.onPeerLost = (peer) => files.gone(peer);
  const server = await CoordinatorServer.open({
    node,
    meshName: settings.name,
    folder,
    transport: (credentials) => nodeTransport({ credentials, transports: settings.transports, admitsStrangers: true }),
    unix: new UnixTransport(),
    ...listening,
    advertise: options.advertise ?? [],
    version: version().version,
    commit: version().commit,
    build: buildName(),
    rendezvous: { ...settings.rendezvous, usesUdp: settings.transports.includes("udp") },
    timing: settings.timing,
    leaseMs: settings.leaseMs,
    isDiscoverable: options.discoverable ?? false,
    log,
    startDetached: (jobFolder, job) => startDetachedHead(jobFolder, job, settings),
    stop: () => over.resolve("a command"),
  });
  try {
    await server.start();
    log.info("ready", { mesh: settings.name, id: server.meshId, listen: server.addresses.join(",") });
    if (options.temporary) void endOfInput().then(() => over.resolve("the end of its input"));
    log.info("ending", { by: await over.promise });
    if (options.temporary) await server.endAll().catch((error) => log.error("not all ended", { error: error.message }));
  } finally {
    await server.close();
    await files.close();
    if (options.temporary) rmSync(folder, { recursive: true, force: true });
  }
  return 0;
}

/** However the process at the other end of the pipe ends, this resolves. */
async function endOfInput(): Promise<void> {
  for await (const _ of Bun.stdin.stream());
}
