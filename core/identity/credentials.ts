// The folder of a node that joined a mesh, which lets it come back without a token:
//
//   node.json   who it is and where the coordinator is, for people too      cert.pem, key.pem   its certificate and key
//   ca.pem      the CAs it trusts                                           all of mode 0600, in a folder of mode 0700
import { join } from "node:path";
import { MeshError } from "../errors.ts";
import { type Credentials, identityFrom } from "./identity.ts";
import { readJsonFile, writeJsonFile } from "./json-file.ts";
import { readKeyFiles, writeKeyFiles } from "./key-files.ts";
import { isName, type NodeIdentity } from "./names.ts";
import { checkPrivateFolder, isThere, makePrivateFolder, readPrivateFile, writePrivateFile } from "./private-files.ts";

const FILES = { key: "key.pem", certificate: "cert.pem" };
const NODE_FILE = "node.json";
const CA_FILE = "ca.pem";

/** What a node needs to come back into its mesh. */
export interface SavedNode extends NodeIdentity {
  meshName: string;
  /** Addresses of the coordinator. */
  coordinators: string[];
  credentials: Credentials;
}

/**
 * Saves a node, in a folder made when it is missing; one saved before is replaced, also under kill -9 by a whole one.
 * Throws AUTHENTICATION for a folder that is not this user's alone and for credentials that are not this node's.
 */
export function saveCredentials(folder: string, node: SavedNode): void {
  checkIsOf(node, identityFrom(node.credentials), folder);
  makePrivateFolder(folder);
  const { meshId, meshName, role, name, coordinators, credentials } = node;
  const { caPem, certificatePem, keyPem } = credentials;
  writeJsonFile(join(folder, NODE_FILE), { meshId, meshName, role, name, coordinators });
  // Before the certificate: it is of use only with the CA that signed it.
  writePrivateFile(join(folder, CA_FILE), caPem);
  writeKeyFiles(folder, FILES, { certificatePem, keyPem });
}

/**
 * Reads what saveCredentials wrote; undefined when there is no such folder, or no node was ever saved in it to the end.
 * Throws AUTHENTICATION for files and folders that are not this user's alone, or damaged.
 */
export function loadCredentials(folder: string): SavedNode | undefined {
  if (!isThere(folder)) return undefined;
  checkPrivateFolder(folder);
  const advice = adviceFor(folder);
  const pair = readKeyFiles(folder, FILES, advice);
  if (!pair) return undefined;
  const node = readJsonFile(join(folder, NODE_FILE), checkNode, advice);
  const caPem = readPrivateFile(join(folder, CA_FILE));
  if (!node || caPem === undefined) {
    throw new MeshError("AUTHENTICATION", `${folder} lacks ${node ? CA_FILE : NODE_FILE}: ${advice}`);
  }
  const credentials = { caPem, ...pair };
  checkIsOf(node, identityFrom(credentials), folder);
  return { ...node, credentials };
}

function checkIsOf(node: NodeIdentity, identity: NodeIdentity, folder: string): void {
  const { meshId, role, name } = node;
  if (meshId === identity.meshId && role === identity.role && name === identity.name) return;
  const message = `the certificate of ${identity.role} ${identity.name} (mesh ${identity.meshId}) is not that of ${role} ${name}`;
  throw new MeshError("AUTHENTICATION", `${message} (mesh ${meshId}): ${adviceFor(folder)}`);
}

function adviceFor(folder: string): string {
  return `delete the folder ${folder} and join again with a new token (mesh token, where the coordinator runs)`;
}

function checkNode(value: unknown): Omit<SavedNode, "credentials"> {
  const { meshId, meshName, role, name, coordinators } = value as SavedNode;
  const areTexts = Array.isArray(coordinators) && coordinators.every((item) => typeof item === "string");
  if (!areTexts || !isName(meshName)) throw new Error("no addresses or no mesh's name");
  return { meshId, meshName, role, name, coordinators };
}
