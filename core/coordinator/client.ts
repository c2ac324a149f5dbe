// A user's command as a client of the mesh: what commands need to ask the coordinator.
import type { Node, RequestOptions } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import type { NodeStatus } from "./answers.ts";
import type { PathReport } from "./path-report.ts";

/** A node to meet, as the coordinator's status tells of it. */
export type MetNode = Pick<NodeStatus, "node" | "name" | "role" | "host" | "addresses">;

/** A connection to the coordinator, for one command. Dispose of it in every case. */
export interface MeshClient extends AsyncDisposable {
  /** The command's own node, for what the coordinator sends by itself (log lines). */
  readonly node: Node;
  readonly coordinator: Address;
  /** The name of the mesh. */
  readonly mesh: string;
  /** Asks the coordinator. Rejects with its error, LINK_CLOSED, TIMEOUT or CANCELLED. */
  ask<Answer>(type: number, body: unknown, options?: RequestOptions): Promise<Answer>;
  /**
   * Begins sessions with other nodes, for what is sent to them from now on. One that cannot be dialed from here is asked, by way
   * of the coordinator, to dial this one. What is sent to one that is not reached fails after the time the mesh gives it.
   */
  meet(nodes: readonly MetNode[]): Promise<void>;
  /** What the routers before this machine do, and which rendezvous it reaches; takes up to some seconds. Never rejects. */
  natAndRendezvous(): Promise<Pick<PathReport, "nat" | "rendezvous">>;
}
