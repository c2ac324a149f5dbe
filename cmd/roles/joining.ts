// Joining a mesh with a token, for the commands that do.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { findMesh } from "../../core/discovery/find.ts";
import type { KnownBy } from "../../core/discovery/gate.ts";
import { MeshError } from "../../core/errors.ts";
import { saveCredentials } from "../../core/identity/credentials.ts";
import type { Credentials } from "../../core/identity/identity.ts";
import type { Role } from "../../core/identity/names.ts";
import { readPrivateFile, writePrivateFile } from "../../core/identity/private-files.ts";
import { joinedFolder } from "../../core/identity/state-folder.ts";
import { parseToken } from "../../core/identity/token.ts";
import { type Access, accessOf } from "../../core/member/access.ts";
import { joinMesh } from "../../core/member/join.ts";
import { meshTransport } from "../transport.ts";

/** The name for a node on the machine of that name. */
export function nameOf(host: string): string {
  return host.replace(/[^A-Za-z0-9._-]/g, "-");
}

/** Stands for the addresses of a coordinator that is to be found on the LAN. */
const DISCOVER = "discover";

/** The addresses given, with those that beacons of the mesh tell in place of "discover". Throws UNREACHABLE without any. */
export async function coordinatorAddresses(
  given: readonly string[],
  meshId: string,
  knownBy: KnownBy,
): Promise<string[]> {
  const addresses = given.filter((address) => address !== DISCOVER);
  if (addresses.length === given.length) return addresses;
  const found = await findMesh({ meshId, knownBy, clock: systemClock });
  return [...addresses, ...found.addresses];
}

/** Joins with a token and saves who this node is from now on. */
export async function joinAs(role: Role, name: string, given: readonly string[], text: string): Promise<Access> {
  const token = parseToken(text);
  const addresses = await coordinatorAddresses(given, token.meshId, { pin: token.pin });
  const node = await joinMesh({
    addresses,
    token,
    role,
    name,
    transport: meshTransport({ credentials: () => undefined }),
  });
  const saved = { ...node, coordinators: [...new Set([...addresses, ...node.coordinators])] };
  const folder = joinedFolder(saved.meshName, name);
  saveCredentials(folder, saved);
  writePrivateFile(join(folder, TOKEN_ID), hexOf(token.id));
  return accessOf(saved);
}

/** Names the token a node joined with, beside its credentials. The secret is kept nowhere. */
const TOKEN_ID = "token-id";

/** Whether this is the token by which that node joined from here: then it is used up, and of no more use. */
export function isTokenOf(text: string, { meshName, identity }: Access): boolean {
  return readPrivateFile(join(joinedFolder(meshName, identity.name), TOKEN_ID)) === hexOf(parseToken(text).id);
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** Keeps a renewed certificate beside what was saved when the node joined; who never joined by token has nothing there. */
export function saveRenewed({ identity, meshName, coordinators, isSaved }: Access, credentials: Credentials): void {
  if (!isSaved) return;
  const { meshId, role, name } = identity;
  saveCredentials(joinedFolder(meshName, name), { meshId, role, name, meshName, coordinators, credentials });
}

/**
 * The token of the environment or a file; removed from the environment, so that no slot sees it. A file that is not there is
 * an error, unless the node can do without (`isOptional`): who has joined may delete it.
 */
export function tokenFrom(file: string | undefined, isOptional = false): string | undefined {
  const given = process.env.MESH_TOKEN;
  delete process.env.MESH_TOKEN;
  if (file === undefined) return given;
  try {
    return readFileSync(file, "utf8").trim();
  } catch (cause) {
    if (isOptional && (cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new MeshError("USAGE", `the token's file ${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
}
