// Files for other nodes of the mesh.
import { isMeshError, MeshError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import { checkKeys, checkSignal, checkWhole, describe } from "./check.ts";
import { jobContext } from "./context.ts";
import type { NodeInfo, WaitOptions } from "./node-view.ts";
import { asCalled } from "./task-error.ts";

/** Where a file goes on its node: in a folder below the one that the node keeps for files of jobs. */
export interface FileOptions extends WaitOptions {
  /** Relative to that folder, without "..", and no links lead out of it. Made when it is missing. Default: the folder itself. */
  dir?: string;
}

export interface SendFileOptions extends FileOptions {
  /** Default: the name it has here. */
  name?: string;
  /** Replaces a file of other content. Default false. */
  overwrite?: boolean;
}

export type SendFileResult = {
  /** Where it is on that node, absolute. */
  path: string;
  /** Of the file that stands there now, in bytes. */
  sizeBytes: number;
  /** SHA-256 of its content, in hexadecimal. */
  hash: string;
} & (
  | { state: "saved" }
  /** Its content was there already; nothing was sent. */
  | { state: "unchanged" }
  /** A file of other content stands there and was left alone; when it was changed last, in ms since 1970. */
  | { state: "exists"; mtimeMs: number }
);

/**
 * Copies a file of this process's machine to a node, with its permissions and time. It gets its name there when all of it has come and its
 * hash is right; a transfer that was interrupted goes on when it is made again. Relative to the current folder.
 * Throws USAGE, UNREACHABLE for a node that is away, LINK_CLOSED when it is lost meanwhile, STORAGE when the file cannot be read here or kept
 * there (no room, over the node's limit), TIMEOUT or CANCELLED.
 */
export async function sendFile(
  target: string | NodeInfo,
  path: string,
  options: SendFileOptions = {},
): Promise<SendFileResult> {
  const to = asCalled(() => {
    checkPath("sendFile", path);
    checkFileOptions("sendFile", options, ["name", "overwrite"]);
    if (options.name !== undefined) checkText("sendFile: name", options.name);
    if (options.overwrite !== undefined && typeof options.overwrite !== "boolean") {
      throw new MeshError("USAGE", `sendFile: overwrite is true or false, not ${describe(options.overwrite)}`);
    }
    return nodeFor("sendFile", target);
  });
  const { dir = "", overwrite = false } = options;
  const [{ basename }, { copyFile }, { LocalFiles }, remote] = await Promise.all([
    import("node:path"),
    import("../files/copy.ts"),
    import("../files/local-files.ts"),
    remoteFiles(to),
  ]);
  const name = options.name ?? basename(path);
  return await limited(`sendFile: ${path} to ${to.name}`, options, async (signal) => {
    const here = {
      files: new LocalFiles({ root: "", userFolder: process.cwd() }),
      place: { root: "user" as const, path },
    };
    const there = { files: remote(signal), place: { root: "files" as const, dir, name } };
    const copied = await copyFile(here, there, { overwrite, adjusts: false, signal });
    const { path: placed, sizeBytes } = copied;
    if (copied.state === "exists") return { state: "exists", path: placed, ...copied.standing };
    return { state: copied.state, path: placed, sizeBytes, hash: copied.hash };
  });
}

/**
 * Removes a file that was sent to a node, named by its path below the node's folder of files. Tells whether there was
 * one. Throws as sendFile does.
 */
export async function deleteFile(target: string | NodeInfo, name: string, options: FileOptions = {}): Promise<boolean> {
  const to = asCalled(() => {
    checkText("deleteFile: the name", name);
    checkFileOptions("deleteFile", options, []);
    return nodeFor("deleteFile", target);
  });
  const remote = await remoteFiles(to);
  const { dir = "" } = options;
  return await limited(`deleteFile: ${name} of ${to.name}`, options, (signal) =>
    remote(signal).delete({ root: "files", dir, name }),
  );
}

function checkPath(label: string, path: unknown): void {
  if (typeof path === "string" && path !== "") return;
  throw new MeshError("USAGE", `${label} takes the path of a file, not ${describe(path)}`);
}

function checkText(what: string, value: unknown): void {
  if (typeof value === "string") return;
  throw new MeshError("USAGE", `${what} is a text, not ${describe(value)}`);
}

function checkFileOptions(label: string, options: FileOptions, more: string[]): void {
  checkKeys(label, options, ["dir", ...more, "timeoutMs", "signal"]);
  if (options.dir !== undefined) checkText(`${label}: dir`, options.dir);
  checkWhole(`${label}: timeoutMs`, options.timeoutMs, 1, 0x7fffffff);
  checkSignal(label, options.signal);
}

/** The node meant, which must be up. */
function nodeFor(label: string, target: string | NodeInfo): Pick<NodeInfo, "node" | "name"> {
  const { view, self } = jobContext();
  const name = typeof target === "string" ? target : (target as NodeInfo | undefined)?.name;
  if (typeof name !== "string") {
    throw new MeshError("USAGE", `${label} takes a node or its name first, not ${describe(target)}`);
  }
  const named = view.list.filter((node) => node.name === name);
  const found = named.find(({ status }) => status === "up") ?? named[0];
  if (!found) {
    const names = view.list.map((node) => node.name);
    const near = nearest(name, names);
    const hint = near === undefined ? `there are ${names.slice(0, 20).join(", ")}` : `did you mean ${near}?`;
    throw new MeshError("USAGE", `${label}: there is no node ${name}; ${hint}`);
  }
  if (found.status === "down") throw new MeshError("UNREACHABLE", `${label}: ${name} is down; see locateNode`);
  if (found.role === "worker" || found.name === self.node) return found;
  throw new MeshError("USAGE", `${label}: ${name} is a ${found.role}: only workers keep files`);
}

async function remoteFiles({ node: of, name }: Pick<NodeInfo, "node" | "name">) {
  const { RemoteFiles } = await import("../files/remote-files.ts");
  const { node } = jobContext();
  return (signal: AbortSignal) => new RemoteFiles({ node, of, name, signal });
}

/** Ends what takes longer than its time with TIMEOUT, and what its user cancels with CANCELLED. */
async function limited<Value>(
  what: string,
  { timeoutMs, signal }: WaitOptions,
  act: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  const limit = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
  const signals = [limit, signal].filter((each) => each !== undefined);
  try {
    return await act(AbortSignal.any(signals));
  } catch (error) {
    if (!isMeshError(error, "CANCELLED")) throw error;
    if (signal?.aborted) throw new MeshError("CANCELLED", `${what}: cancelled by its signal`, { cause: signal.reason });
    throw new MeshError("TIMEOUT", `${what}: not done within ${timeoutMs} ms`, { cause: error });
  }
}
