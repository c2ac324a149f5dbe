// `mesh coordinator`: the node that knows who is in the mesh and which jobs run, in the foreground.

import { rmSync } from "node:fs";
import { Command, Option } from "@commander-js/extra-typings";
import { MeshError } from "../../core/errors.ts";
import { stateFolder } from "../../core/identity/state-folder.ts";
import { CoordinatorServer } from "../../core/member/coordinator-server.ts";
import { becomeSubreaper } from "../../core/worker/libc.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { type MeshSettings, meshSettings } from "../mesh-settings.ts";
import { meshOption } from "../options.ts";
import { meshTransport } from "../transport.ts";
import { version } from "../version.ts";
import { startDetachedHead } from "./detached-head.ts";
import { buildName, endSignal, foregroundLog, newNode } from "./node-process.ts";

export function command() {
  return (
    new Command("coordinator")
      .description(
        "Be the coordinator of a mesh, in the foreground: it knows the nodes, hands out certificates, and keeps the history and logs of jobs. " +
          "Makes the mesh when there is none yet.",
      )
      .option("--listen <address...>", 'where to listen (default: as mesh.toml says, else "tcp://[::]:7450")')
      .option("--advertise <address...>", "what to tell nodes instead, when a router forwards a port to here")
      .option(
        "--discoverable",
        "tell nodes of the LAN, by signed beacons, where it listens (mesh worker --join discover)",
      )
      .addOption(new Option("--temporary", "of `mesh run --hosts`: the mesh ends with standard input").hideHelp())
      // By `mesh up`, which has read mesh.toml: where this runs there may be none.
      .addOption(new Option("--settings <json>").argParser((text): CoordinatorSettings => JSON.parse(text)).hideHelp())
      .addOption(meshOption())
      .action(async (options) => {
        process.exitCode = await run(options);
      })
  );
}

/** What a coordinator takes from mesh.toml. */
export type CoordinatorSettings = Pick<MeshSettings, "name" | "listen" | "timing" | "leaseMs">;

interface CoordinatorOptions {
  listen?: string[] | undefined;
  advertise?: string[] | undefined;
  mesh?: string | undefined;
  discoverable?: boolean | undefined;
  temporary?: true | undefined;
  settings?: CoordinatorSettings | undefined;
}

async function run(options: CoordinatorOptions): Promise<number> {
  const settings = options.settings ?? (await meshSettings(options.mesh));
  const listen = options.listen ?? settings.listen;
  if (listen.length === 0)
    throw new MeshError(
      "CONFIG",
      'the coordinator has nothing to listen on: add "tcp://[::]:7450" to [coordinator] listen',
    );
  becomeSubreaper();
  const folder = stateFolder(settings.name);
  const log = foregroundLog();
  const over = Promise.withResolvers<string>();
  void endSignal().then((signal) => over.resolve(signal));
  const server = await CoordinatorServer.open({
    node: newNode(),
    meshName: settings.name,
    folder,
    transport: (credentials) => meshTransport({ credentials, admitsStrangers: true }),
    unix: new UnixTransport(),
    listen,
    advertise: options.advertise ?? [],
    version: version().version,
    commit: version().commit,
    build: buildName(),
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
    if (options.temporary) rmSync(folder, { recursive: true, force: true });
  }
  return 0;
}

/** However the process at the other end of the pipe ends, this resolves. */
async function endOfInput(): Promise<void> {
  for await (const _ of Bun.stdin.stream());
}
