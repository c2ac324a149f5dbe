// mesh doctor --path: how two nodes of the mesh reach each other, as far as they and the coordinator tell.

import { isMeshError, MeshError } from "../../core/errors.ts";
import { nodePairFindings, type Pair } from "../../core/fleet/mesh-findings.ts";
import { askPair, askStatus, nodeNamed } from "../operate/asking.ts";
import { connect, type Surroundings } from "../surroundings.ts";
import type { Diagnosis } from "./doctor-view.ts";

/** Throws USAGE for names that are not those of two nodes, and what connecting throws. */
export async function diagnosePath(
  words: readonly string[],
  mesh: string | undefined,
  around: Surroundings,
): Promise<Diagnosis> {
  const [first, second] = words;
  if (first === undefined || second === undefined || words.length > 2 || first === second) {
    throw new MeshError("USAGE", "--path wants the names of two nodes of the mesh: `mesh doctor --path gpu1 gpu2`");
  }
  await using client = await connect(around, { mesh });
  const { nodes } = await askStatus(client);
  const a = nodeNamed(first, nodes);
  const b = nodeNamed(second, nodes);
  const isThere = a.state !== "down" && b.state !== "down";
  const reports = isThere ? await askPair(client, a, b) : undefined;
  const sideOf = (node: typeof a): Pair => ({
    name: node.name,
    node,
    dials: undefined,
    report: reports?.get(node.name),
  });
  const pair = nodePairFindings(sideOf(a), sideOf(b));
  return { here: [], hosts: [], mesh: [], between: [a.name, b.name], pair };
}

/** The same of two that may be hosts for ssh as well: undefined unless both are nodes of a mesh that is up. */
export async function pathIfNodes(
  words: readonly string[],
  mesh: string | undefined,
  around: Surroundings,
): Promise<Diagnosis | undefined> {
  try {
    return await diagnosePath(words, mesh, around);
  } catch (error) {
    if (isMeshError(error)) return undefined; // the examination of this machine says what is wrong with the mesh
    throw error;
  }
}
