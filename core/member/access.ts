// How a process of this machine's user gets into a mesh: by the coordinator's own socket where that runs here, else with
// what an earlier join left in the state folder.
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { isMeshError, MeshError } from "../errors.ts";
import { loadCredentials, type SavedNode } from "../identity/credentials.ts";
import type { Identity } from "../identity/identity.ts";
import { identityFrom } from "../identity/identity.ts";
import { createKeyPair } from "../identity/keys.ts";
import type { Role } from "../identity/names.ts";
import { stateFolderPath } from "../identity/state-folder.ts";
import type { Transport } from "../transport.ts";
import { askForCertificate, CERTIFICATE_SOCKET } from "./certificate-socket.ts";

/** All a process needs to join. */
export interface Access {
  identity: Identity;
  meshName: string;
  /** Addresses of the coordinator. */
  coordinators: string[];
  /** Whether it comes from the state folder, where a renewed certificate is to go. */
  isSaved: boolean;
}

/** A certificate for a new node of this name, by the coordinator of this machine; undefined when none runs here. */
export async function localAccess(
  unix: Transport,
  meshName: string,
  role: Role,
  name: string,
): Promise<Access | undefined> {
  const socket = join(stateFolderPath(meshName), CERTIFICATE_SOCKET);
  if (!existsSync(socket)) return undefined;
  const { publicKey, keyPem } = createKeyPair();
  try {
    const joined = await askForCertificate(unix, socket, { publicKey, role, name });
    const { certificatePem, caPem, coordinators } = joined;
    return { identity: identityFrom({ certificatePem, caPem, keyPem }), meshName, coordinators, isSaved: false };
  } catch (error) {
    if (isMeshError(error, "UNREACHABLE")) return undefined; // the socket of one that was killed
    throw error;
  }
}

/** What was saved of a node that joined this mesh from here before; the one named, or the only one of its role. */
export function joinedAccess(meshName: string, role: Role, name?: string): Access | undefined {
  const folder = join(stateFolderPath(meshName), "joined");
  const names = existsSync(folder) ? readdirSync(folder).filter((each) => name === undefined || each === name) : [];
  const nodes = names.map((each) => loadCredentials(join(folder, each))).filter((node) => node?.role === role);
  if (nodes.length > 1) {
    const known = nodes.map((node) => node!.name).join(", ");
    throw new MeshError(
      "USAGE",
      `several nodes joined ${meshName} from here as ${role} (${known}): say which by --name`,
    );
  }
  return nodes[0] && accessOf(nodes[0]);
}

/** As read from the state folder. */
export function accessOf({ credentials, meshName, coordinators }: SavedNode): Access {
  return { identity: identityFrom(credentials), meshName, coordinators, isSaved: true };
}
