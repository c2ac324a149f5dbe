// `mesh rendezvous`: a node that all others reach, by which those behind routers find each other, in the foreground.
import { Command, Option } from "@commander-js/extra-typings";
import type { ManagedWorker } from "../../core/bootstrap/managed-worker.ts";
import { RENDEZVOUS_NAME } from "../../core/config/names.ts";
import { type PortRange, parsePortRange } from "../../core/config/port-range.ts";
import { Rendezvous } from "../../core/rendezvous/rendezvous.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { meshSettings } from "../mesh-settings.ts";
import { meshOption, parsed } from "../options.ts";
import { accessFor, endWhenDeserted, lastingMember, type MemberSettings, runManaged } from "./lasting-member.ts";
import {
  advertiseOption,
  joinOption,
  type MemberCommandOptions,
  managedOption,
  nameOption,
  tokenFileOption,
} from "./member-options.ts";
import { endSignal, foregroundLog, machineReport, newNode, nodeFacts } from "./node-process.ts";

interface RendezvousOptions extends MemberCommandOptions {
  ports?: PortRange | undefined;
}

const PORT = 7451;

export function command() {
  return new Command("rendezvous")
    .description(
      "Be where nodes behind routers meet, in the foreground, on a machine that all of them reach: it tells them their outside " +
        "addresses, brings them together, and relays between those that find no way. The coordinator is one, too. A token of " +
        "`mesh token --role rendezvous` is needed the first time, in MESH_TOKEN or --token-file; beside the coordinator none is.",
    )
    .addOption(joinOption())
    .addOption(nameOption(`"${RENDEZVOUS_NAME}"`))
    .option("--listen <address...>", `where nodes dial it (default: port ${PORT}, TCP and UDP)`)
    .addOption(advertiseOption())
    .addOption(
      new Option(
        "--ports <range>",
        'UDP and TCP ports for echoes and relays, such as "40000-40099" (default: any)',
      ).argParser(parsed(parsePortRange)),
    )
    .addOption(tokenFileOption())
    .addOption(meshOption())
    .addOption(managedOption())
    .action(async (options) => {
      const given = { ...options, name: options.name ?? RENDEZVOUS_NAME, advertise: options.advertise ?? [] };
      process.exitCode = await run(given as RendezvousOptions);
    });
}

async function run(given: RendezvousOptions): Promise<number> {
  if (!given.managed) {
    const settings = await meshSettings(given.mesh);
    return await serve({ ...given, ports: given.ports ?? settings.rendezvousPorts }, settings);
  }
  return await runManaged(given, (managed, settings) => {
    const { listen, advertise = [], ports } = managed.wanted.worker;
    return serve({ ...given, advertise, ports, ...(listen && { listen }) }, settings, managed);
  });
}

async function serve(options: RendezvousOptions, settings: MemberSettings, managed?: ManagedWorker): Promise<number> {
  const access = await accessFor("rendezvous", options, settings);
  const log = foregroundLog();
  const node = newNode();
  const over = Promise.withResolvers<string>();
  void endSignal({ hangup: managed === undefined }).then((signal) => over.resolve(signal));
  // One of another build is about to come in its place, and needs its ports.
  process.on("SIGUSR1", () => over.resolve("SIGUSR1"));
  node.handle(MessageType.shutdown, () => over.resolve("the coordinator"));
  node.onProblem = (error) => log.warn("message not handled", { error: (error as Error).message });
  const member = lastingMember({
    ...{ access, settings, managed, node, log, listen: options.listen, advertise: options.advertise },
    port: PORT,
    facts: nodeFacts({ slots: 0 }),
    report: () => machineReport(0),
    changed: () => {},
  });
  const { ports } = options;
  const rendezvous = await Rendezvous.start({
    ...{ node, log, role: "rendezvous" },
    peers: (other) => member.sessionWith(other),
    ...(ports && { ports }),
  });
  node.onPeerLost = (peer, error) => {
    rendezvous.peerGone(peer.node);
    member.peerLost(peer, error);
    if (!member.coordinator) managed?.is("lost");
  };
  try {
    const joined = member.start({ isPatient: true });
    joined.catch(() => {}); // told by the race, unless the end came first
    await Promise.race([joined, over.promise]);
    const { name } = access.identity;
    const where = { listen: member.addresses.join(","), echo: rendezvous.echoPorts.join(",") };
    log.info("ready", { name, mesh: access.meshName, ...where });
    if (managed?.wanted.worker.isTemporary) endWhenDeserted(member, () => over.resolve("its mesh being gone"));
    log.info("ending", { by: await over.promise });
  } finally {
    await rendezvous.close();
    await member.close();
  }
  return 0;
}
