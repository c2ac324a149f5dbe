// What workers and rendezvous have in common: they stay in the mesh until they are told to end, come back to it by themselves, and
// may have been started by `mesh host`, which is told how they stand.
import { hostname } from "node:os";
import { ManagedWorker } from "../../core/bootstrap/managed-worker.ts";
import { systemClock } from "../../core/clock.ts";
import { BUILTIN_TRANSPORTS } from "../../core/config/transports.ts";
import { MeshError } from "../../core/errors.ts";
import { joinedFolder, removeJoined } from "../../core/identity/state-folder.ts";
import { Trust } from "../../core/identity/trust.ts";
import { type Access, joinedAccess, localAccess } from "../../core/member/access.ts";
import { defaultListening, type Listening } from "../../core/member/listening.ts";
import { Member, type MemberOptions } from "../../core/member/member.ts";
import { Tunnel, tunnelPath } from "../../core/tether/tunnel.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import type { MeshSettings } from "../mesh-settings.ts";
import { nodeTransport } from "../node-transport.ts";
import { coordinatorAddresses, isTokenOf, joinAs, nameOf, saveRenewed, tokenFrom } from "./joining.ts";
import type { MemberCommandOptions } from "./member-options.ts";
import { buildName } from "./node-process.ts";

export type LastingRole = "worker" | "rendezvous";

export type MemberSettings = Pick<MeshSettings, "name" | "timing" | "transports">;

/** Serves what `mesh host` has started, and tells it how that stands until it has ended. */
export async function runManaged(
  { mesh, name }: MemberCommandOptions,
  serve: (managed: ManagedWorker, settings: MemberSettings) => Promise<number>,
): Promise<number> {
  const managed = mesh && name ? ManagedWorker.open(joinedFolder(mesh, name)) : undefined;
  if (!mesh || !name || !managed) throw new MeshError("USAGE", "managed nodes are started by `mesh up`");
  try {
    managed.is("joining");
    const {
      transports = BUILTIN_TRANSPORTS,
      heartbeatMs,
      suspectAfterMs,
      downAfterMs,
      isTemporary,
    } = managed.wanted.worker;
    const settings = { name: mesh, transports, timing: { heartbeatMs, suspectAfterMs, downAfterMs } };
    const status = await serve(managed, settings);
    if (managed.ended() && isTemporary) removeJoined(mesh, name);
    return status;
  } catch (error) {
    managed.failed(error);
    throw error;
  }
}

export interface LastingMemberOptions extends Pick<MemberOptions, "node" | "log" | "facts" | "report" | "changed"> {
  access: Access;
  settings: MemberSettings;
  managed: ManagedWorker | undefined;
  /** Where to listen, when somebody says so. */
  listen: readonly string[] | undefined;
  advertise: readonly string[];
  /** Where it listens else, if that port is free. Default any. */
  port?: number;
}

/** Not started yet. */
export function lastingMember(options: LastingMemberOptions): Member {
  const { access, settings, managed, listen, advertise, port, ...own } = options;
  const { timing, transports } = settings;
  const { identity, meshName, isSaved } = access;
  // Whoever reaches this host by SSH may have it use the channel for what it cannot dial itself.
  const tunnel = isSaved ? new Tunnel(tunnelPath(meshName, identity.name), systemClock) : undefined;
  const member: Member = new Member({
    ...access,
    ...own,
    transport: nodeTransport({
      credentials: () => member.credentials,
      transports,
      ...(tunnel && { tunnel: tunnel.path }),
    }),
    waysTo: (addresses) => tunnel?.waysTo(addresses) ?? addresses,
    ...(listen ? { listen } : byDefault(transports, port)),
    advertise,
    build: buildName(),
    timing,
    clock: systemClock,
    save: (credentials) => member.isRetiring || saveRenewed(access, credentials),
    registered: () => managed?.is("ready"),
    notReached: (error) => {
      if (!managed) return;
      managed.notReached(error);
      tunnel?.expect(); // `mesh host` tells `mesh up`, which lays one
    },
  });
  return member;
}

/** A port that nobody asked for may be that of another mesh on this machine. */
function byDefault(transports: readonly string[], port: number | undefined): Listening {
  const { listen, listenToo } = defaultListening(transports, port);
  return port === undefined ? { listen, listenToo } : { listen: [], listenToo: [...listen, ...listenToo] };
}

/** A mesh that lasts for one run has no other coordinator to wait for. */
export function endWhenDeserted(member: Member, end: () => void): void {
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
 * Joins with a token when one is given and was not used here before, else comes back as who joined before, else by the
 * coordinator on this machine. Without a name it has that of its machine.
 */
export async function accessFor(
  role: LastingRole,
  { join, tokenFile, name = nameOf(hostname()) }: Pick<MemberCommandOptions, "join" | "name" | "tokenFile">,
  { name: meshName }: Pick<MemberSettings, "name">,
): Promise<Access> {
  const known = joinedAccess(meshName, role, name);
  const token = tokenFrom(tokenFile, known !== undefined);
  const isNew = token && !(known && isTokenOf(token, known));
  if (join && isNew) return await joinAs(role, name, join, token);
  if (known) return { ...known, coordinators: await knownAddresses(known, join) };
  const local = join ? undefined : await localAccess(new UnixTransport(), meshName, role, name);
  if (local) return local;
  const how = `run \`mesh token --role ${role}\` where the coordinator runs, and start this ${role} with --join ADDRESS and the token in MESH_TOKEN`;
  const why = join
    ? "a token is needed to join the first time"
    : `no coordinator of the mesh ${meshName} runs on this machine`;
  throw new MeshError(join ? "AUTHENTICATION" : "UNREACHABLE", `${why}: ${how}`);
}

/** Where to look for the coordinator of a mesh that this node belongs to. */
async function knownAddresses({ identity, coordinators }: Access, given: string[] | undefined): Promise<string[]> {
  if (!given) return coordinators;
  return await coordinatorAddresses(given, identity.meshId, { trust: new Trust(identity.credentials.caPem) });
}
