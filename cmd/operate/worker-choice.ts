// Which workers of the mesh a command line means: by names, ranges ("rack[01-16]"), patterns ("gpu*") and tags.
import { expandRanges } from "../../core/config/ranges.ts";
import type { NodeStatus, Status } from "../../core/coordinator/answers.ts";
import { MeshError } from "../../core/errors.ts";
import { nearest } from "../../core/nearest.ts";
import { nodeNames } from "./job-words.ts";

export interface WorkerChoice {
  /** As written; several may stand in one, separated by commas. None: all workers. */
  names: readonly string[];
  /** All of these must be among a worker's tags. */
  tags: readonly string[];
}

export interface ChosenWorkers {
  /** In the order named, or by name; those that are down are among them only when they were named. */
  workers: NodeStatus[];
  /** Names of workers that would be meant, and are down. */
  leftOut: string[];
}

const LISTED = 20;

/** Throws USAGE for a name that no worker has, and when nothing is left. */
export function chooseWorkers({ names, tags }: WorkerChoice, status: Status): ChosenWorkers {
  const all = status.nodes.filter(({ role, state }) => role === "worker" && state !== "retiring");
  const patterns = names.flatMap(splitNames).flatMap(expandRanges);
  const chosen = new Map<string, NodeStatus>();
  const leftOut = new Set<string>();
  for (const pattern of names.length === 0 ? ["*"] : patterns) {
    const isPattern = /[*?]/.test(pattern);
    const found = isPattern ? all.filter(({ name }) => new Bun.Glob(pattern).match(name)) : [named(pattern, status)];
    for (const worker of found) {
      if (!tags.every((tag) => worker.tags.includes(tag))) continue;
      if (isPattern && worker.state === "down") leftOut.add(worker.name);
      else chosen.set(worker.name, worker);
    }
  }
  if (chosen.size === 0) throw nothingChosen({ names, tags }, all, [...leftOut]);
  return { workers: [...chosen.values()], leftOut: [...leftOut].filter((name) => !chosen.has(name)) };
}

/** At commas, but not at those of a range. */
function splitNames(text: string): string[] {
  const names = text.match(/(?:\[[^\]]*\]?|[^,[])+/g) ?? [];
  if (text.startsWith("-")) {
    throw new MeshError(
      "USAGE",
      `${JSON.stringify(text)} is no host: options stand before the hosts, and a command behind --`,
    );
  }
  if (names.length === 0) throw new MeshError("USAGE", `${JSON.stringify(text)} names no host`);
  return names;
}

function named(name: string, { nodes }: Status): NodeStatus {
  const node = nodes.find((each) => each.name === name);
  if (node?.role === "worker") return node;
  if (node) throw new MeshError("USAGE", `${name} is a ${node.role}: only workers run commands and keep files`);
  const workers = nodes.filter(({ role }) => role === "worker").map((worker) => worker.name);
  const near = nearest(name, workers);
  const advice = near === undefined ? whatThereIs(workers) : `did you mean ${JSON.stringify(near)}?`;
  throw new MeshError("USAGE", `no worker is named ${JSON.stringify(name)}: ${advice}`);
}

function nothingChosen({ names, tags }: WorkerChoice, workers: NodeStatus[], leftOut: string[]): MeshError {
  const wanted = [
    names.length > 0 ? ` named ${names.join(" or ")}` : "",
    tags.length > 0 ? ` with the ${tags.length === 1 ? "tag" : "tags"} ${tags.join(" and ")}` : "",
  ].join("");
  if (leftOut.length > 0) {
    return new MeshError("UNREACHABLE", `all workers${wanted} are down: ${nodeNames(leftOut)}`);
  }
  const described = workers.map(({ name, tags: own }) => (own.length > 0 ? `${name} (${own.join(", ")})` : name));
  return new MeshError("USAGE", `there is no worker${wanted}: ${whatThereIs(described)}`);
}

function whatThereIs(workers: readonly string[]): string {
  if (workers.length === 0) return "this mesh has no workers yet: start one with `mesh worker` or `mesh up`";
  const more = workers.length > LISTED ? ` and ${workers.length - LISTED} more` : "";
  return `workers of this mesh are ${workers.slice(0, LISTED).join(", ")}${more}`;
}
