// What the operands of `mesh cp` mean: which of them are on other hosts, and where each source goes.
import { posix } from "node:path";
import type { Status } from "../../core/coordinator/answers.ts";
import { MeshError } from "../../core/errors.ts";
import { joined } from "../../core/files/copy-tree.ts";
import { chooseWorkers } from "./worker-choice.ts";

/** As written: with hosts when something stands before a colon that is no part of a path. */
export interface Operand {
  hosts?: string;
  path: string;
}

/** One copy: from a path here or on a host to one here or on another. */
export interface CopyStep {
  fromHost?: string;
  source: string;
  toHost?: string;
  /** As written; the name of the source is added when it is a folder that is there. */
  target: string;
  /** Several hosts are copied from: each into a folder of its own name. */
  isPerHost: boolean;
  /** It must be a folder: several things go there, or it was written with a slash at the end. */
  isFolder: boolean;
}

/** As for scp: a colon before the first slash. "./a:b" is a file here. */
export function operandOf(text: string): Operand {
  const found = /^([^/:]+):(.*)$/s.exec(text);
  if (found) return { hosts: found[1]!, path: found[2] || "." };
  if (text === "") throw new MeshError("USAGE", "an empty word is no path");
  return { path: text };
}

/** Every copy there is to make. Throws USAGE for hosts that are not there, and when nothing is on another host. */
export function copySteps(texts: readonly string[], status: Status): CopyStep[] {
  const operands = texts.map(operandOf);
  const target = operands.pop();
  if (!target || operands.length === 0)
    throw new MeshError("USAGE", "give what to copy, and where to: mesh cp SRC... HOST:DST");
  if ([...operands, target].every(({ hosts }) => hosts === undefined)) {
    throw new MeshError(
      "USAGE",
      "nothing of this is on another host: write HOST:PATH, and use cp for files of this machine",
    );
  }
  const sources = operands.flatMap(({ hosts, path }) => namesOf(hosts, status).map((fromHost) => ({ fromHost, path })));
  const isPerHost = new Set(sources.map(({ fromHost }) => fromHost)).size > 1;
  const isFolder = sources.length > 1 || target.path.endsWith("/");
  return namesOf(target.hosts, status).flatMap((toHost) =>
    sources.map(({ fromHost, path }) => ({
      ...(fromHost !== undefined && { fromHost }),
      ...(toHost !== undefined && { toHost }),
      source: path,
      target: target.path,
      isPerHost,
      isFolder,
    })),
  );
}

/** The names that an operand's hosts stand for; this machine is undefined. */
function namesOf(hosts: string | undefined, status: Status): (string | undefined)[] {
  if (hosts === undefined) return [undefined];
  return chooseWorkers({ names: [hosts], tags: [] }, status).workers.map(({ name }) => name);
}

/** The folder and the pattern of a path whose last part is one ("logs/*.txt"): no shell has seen to that on another host. */
export function patternOf({ fromHost, source }: CopyStep): { folder: string; pattern: Bun.Glob } | undefined {
  const name = posix.basename(source);
  if (fromHost === undefined || !/[*?[]/.test(name)) return undefined;
  return { folder: posix.dirname(source), pattern: new Bun.Glob(name) };
}

/** Where a source goes when the target is a folder: under its own name. "." and the like have none: their content goes there. */
export function within(folder: string, source: string): string {
  const name = posix.basename(source);
  return ["", ".", "..", "~"].includes(name) ? folder : joined(folder, name);
}
