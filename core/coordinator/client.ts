// A user's command as a client of the mesh: what commands need to ask the coordinator.
import type { Node, RequestOptions } from "../node/node.ts";
import type { Address } from "../wire/message.ts";

/** A connection to the coordinator, for one command. Dispose of it in every case. */
export interface MeshClient extends AsyncDisposable {
  /** The command's own node, for what the coordinator sends by itself (log lines). */
  readonly node: Node;
  readonly coordinator: Address;
  /** The name of the mesh. */
  readonly mesh: string;
  /** Asks the coordinator. Rejects with its error, LINK_CLOSED, TIMEOUT or CANCELLED. */
  ask<Answer>(type: number, body: unknown, options?: RequestOptions): Promise<Answer>;
}
