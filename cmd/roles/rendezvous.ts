// `mesh rendezvous`: a node that all others reach, by which those behind routers find each other, in the foreground.
import { Command, Option } from "@commander-js/extra-typings";
import type { ManagedWorker } from "../../core/bootstrap/managed-worker.ts";
import { RENDEZVOUS_NAME } from "../../core/config/names.ts";
import { parsePortRange } from "../../core/config/port-range.ts";
import { parseRelayRate, RELAY_PAIRS_LIMIT } from "../../core/config/relay-rate.ts";
import { FileHost } from "../../core/files/file-host.ts";
import { Rendezvous } from "../../core/rendezvous/rendezvous.ts";
import type { RendezvousSettings } from "../../core/rendezvous/settings.ts";
import { reportOf } from "../../core/rendezvous/tally.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { meshSettings } from "../mesh-settings.ts";
import { meshOption, parsed, wholeNumber } from "../options.ts";
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
    .addOption(
      new Option(
        "--relay-rate <size>",
        'what one pair may send through a relay in a second, such as "10M" (default: no limit)',
      ).argParser(parsed(parseRelayRate)),
    )
    .addOption(
      new Option("--relay-pairs <count>", "how many pairs are relayed at once (default: 2000)").argParser(
        wholeNumber(1, RELAY_PAIRS_LIMIT),
      ),
    )
    .addOption(tokenFileOption())
    .addOption(meshOption())
    .addOption(managedOption())
    .action(async ({ ports, relayRate, relayPairs, name = RENDEZVOUS_NAME, advertise = [], ...options }) => {
      const limits = { ...(relayRate && { relayBytesPerSecond: relayRate }), ...(relayPairs && { relayPairs }) };
      const own: RendezvousSettings = { ...(ports && { ports }), ...limits };
      process.exitCode = await run({ ...options, name, advertise } as MemberCommandOptions, own);
    });
}

async function run(given: MemberCommandOptions, own: RendezvousSettings): Promise<number> {
  if (!given.managed) {
    const settings = await meshSettings(given.mesh);
    return await serve(given, settings, { ...settings.rendezvous, ...own });
  }
  return await runManaged(given, (managed, settings) => {
    const { listen, advertise = [], rendezvous = {} } = managed.wanted.worker;
    return serve({ ...given, advertise, ...(listen && { listen }) }, settings, rendezvous, managed);
  });
}

async function serve(
  options: MemberCommandOptions,
  settings: MemberSettings,
  own: RendezvousSettings,
  managed?: ManagedWorker,
): Promise<number> {
  const access = await accessFor("rendezvous", options, settings);
  const log = foregroundLog();
  const node = newNode();
  const over = Promise.withResolvers<string>();
  void endSignal({ hangup: managed === undefined }).then((signal) => over.resolve(signal));
  // One of another build is about to come in its place, and needs its ports.
  process.on("SIGUSR1", () => over.resolve("SIGUSR1"));
  node.handle(MessageType.shutdown, () => over.resolve("the coordinator"));
  node.onProblem = (error) => log.warn("message not handled", { error: (error as Error).message });
  const files = new FileHost({ node });
  const member = lastingMember({
    ...{ access, settings, managed, node, log, listen: options.listen, advertise: options.advertise },
    port: PORT,
    facts: nodeFacts({ slots: 0 }),
    report: () => ({ ...machineReport(0), rendezvous: reportOf(rendezvous.metrics) }),
    changed: () => {},
  });
  const rendezvous = await Rendezvous.start({
    ...{ node, log, role: "rendezvous" },
    peers: (other) => member.sessionWith(other),
    ...own,
    usesUdp: settings.transports.includes("udp"),
  });
  node.onPeerLost = (peer, error) => {
    rendezvous.peerGone(peer.node);
    files.gone(peer);
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
    await files.close();
    await member.close();
  }
  return 0;
}
