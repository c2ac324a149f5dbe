// Tells a node that another wants to meet it, so that both can dial at the same moment.
import { MeshError } from "../errors.ts";
import { nearest } from "../nearest.ts";
import { MessageType } from "../wire/message-types.ts";
import type { Introduced } from "./answers.ts";
import type { Introduce } from "./bodies.ts";
import type { Asker, CoordinatorNode } from "./door.ts";
import type { Membership } from "./membership.ts";
import type { Peers } from "./peers.ts";

/** Where askers listen that are no members: commands of users. Until their session ends. */
export type Visitors = Map<number, { name: string; addresses: string[] }>;

/** Answers introduce with where the other listens. Throws USAGE for a name nobody has, UNREACHABLE for one that is away. */
export function introducer(node: CoordinatorNode, membership: Membership, peers: Peers, visitors: Visitors) {
  return (body: Introduce, asker: Asker): Introduced => {
    const wanted = body.node;
    const target = typeof wanted === "number" ? membership.get(wanted) : membership.byName(wanted);
    if (!target) throw unknown(wanted, membership);
    if (!peers.has(target.node)) {
      throw new MeshError("UNREACHABLE", `${target.name} has no session with the coordinator now: try again later`);
    }
    if (!membership.get(asker.node)) visitors.set(asker.node, { name: asker.name, addresses: body.addresses });
    const introduction: Introduced = {
      node: asker.node,
      name: asker.name,
      role: asker.role,
      addresses: body.addresses,
    };
    node.notify({ node: target.node, slot: 0 }, MessageType.introduce, introduction);
    return { node: target.node, name: target.name, role: target.role, addresses: target.addresses };
  };
}

function unknown(wanted: number | string, membership: Membership): MeshError {
  if (typeof wanted === "number") return new MeshError("UNREACHABLE", `node ${wanted} is not in the mesh any more`);
  const guess = nearest(
    wanted,
    [...membership.nodes()].map(({ name }) => name),
  );
  return new MeshError("USAGE", `there is no node "${wanted}"${guess ? `; did you mean "${guess}"?` : " in the mesh"}`);
}
