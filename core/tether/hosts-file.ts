// Which hosts the tether of a mesh is to serve: a file for each below the mesh's state folder, so that many may be added and
// removed at once. They hold no secrets.
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { readJsonFile, writeJsonFile } from "../identity/json-file.ts";
import { checkName, isName } from "../identity/names.ts";
import { isThere, makePrivateFolder } from "../identity/private-files.ts";
import { stateFolder, stateFolderPath } from "../identity/state-folder.ts";

/** A host whose worker cannot dial the mesh by itself. */
export interface TetheredHost {
  /** Of its worker's node. */
  name: string;
  /** How ssh gets there. */
  target: string;
  /** Where its worker looks for the tunnel; see tunnelPath. */
  socketPath: string;
}

export function addTethered(meshName: string, { name, target, socketPath }: TetheredHost): void {
  checkName(name, "the name of a node");
  stateFolder(meshName);
  makePrivateFolder(folderOf(meshName));
  writeJsonFile(fileOf(meshName, name), { name, target, socketPath });
}

/** Whether it was there. */
export function removeTethered(meshName: string, name: string): boolean {
  if (!isName(name) || !isThere(fileOf(meshName, name))) return false;
  rmSync(fileOf(meshName, name), { force: true });
  return true;
}

/** By name. Throws AUTHENTICATION when others could have written them. */
export function tetheredHosts(meshName: string): TetheredHost[] {
  if (!isThere(folderOf(meshName))) return [];
  const names = readdirSync(folderOf(meshName)).filter((file) => /^[^.].*\.json$/.test(file));
  return names.sort().flatMap((file) => readJsonFile(join(folderOf(meshName), file), checkHost, "delete it") ?? []);
}

function folderOf(meshName: string): string {
  return join(stateFolderPath(meshName), "tethered");
}

function fileOf(meshName: string, name: string): string {
  return join(folderOf(meshName), `${name}.json`);
}

function checkHost(value: unknown): TetheredHost {
  const { name, target, socketPath } = value as TetheredHost;
  const isHost = isName(name) && typeof target === "string" && typeof socketPath === "string";
  if (!isHost || !socketPath.startsWith("/")) throw new Error("it lacks something");
  return { name, target, socketPath };
}
