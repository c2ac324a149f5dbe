// How a user's command reaches its mesh.
import { randomBytes } from "node:crypto";
import { systemClock } from "../core/clock.ts";
import { MeshError } from "../core/errors.ts";
import { type Access, joinedAccess, localAccess } from "../core/member/access.ts";
import { Client } from "../core/member/client.ts";
import { defaultListening } from "../core/member/listening.ts";
import { UnixTransport } from "../transports/unix/unix-transport.ts";
import { type MeshSettings, meshSettings, type NodeSettings } from "./mesh-settings.ts";
import { nodeTransport } from "./node-transport.ts";
import { buildName, newNode } from "./roles/node-process.ts";

/** Connects to the coordinator of the mesh named, else of the nearest mesh.toml. Throws UNREACHABLE when it is not up. */
export async function openClient(options: { mesh?: string }): Promise<Client> {
  const settings = await meshSettings(options.mesh);
  const access = await clientAccess(settings);
  if (!access) throw notUp(settings);
  return await connect(access, settings);
}

/** Connects as who `access` says. Throws UNREACHABLE, AUTHENTICATION or TIMEOUT. */
export async function connect(access: Access, { timing, transports }: NodeSettings): Promise<Client> {
  const client = new Client({
    ...access,
    ...defaultListening(transports),
    node: newNode(),
    transport: nodeTransport({ credentials: () => access.identity.credentials, transports }),
    build: buildName(),
    timing,
    clock: systemClock,
  });
  await client.start();
  return client;
}

/** As a client of the coordinator on this machine, else as who joined from here before. */
export async function clientAccess({ name }: Pick<MeshSettings, "name">): Promise<Access | undefined> {
  const local = await localAccess(new UnixTransport(), name, "client", `command-${randomBytes(6).toString("hex")}`);
  return local ?? accessOfJoined(name);
}

/** Whether users of this machine may ask a coordinator elsewhere. */
export function hasJoined(mesh: string): boolean {
  return accessOfJoined(mesh) !== undefined;
}

function accessOfJoined(mesh: string): Access | undefined {
  return joinedAccess(mesh, "head");
}

/** The mesh cannot be asked: what to do. */
export function notUp({ name, file }: Pick<MeshSettings, "name" | "file">): MeshError {
  const which = file === undefined ? `the mesh ${name}` : `the mesh ${name} of ${file}`;
  const message = `${which} is not up on this machine: start it with \`mesh up HOST\` (\`mesh coordinator\` without hosts), or join one elsewhere with \`mesh join ADDRESS\``;
  return new MeshError("UNREACHABLE", message);
}
