// A host that joins the mesh because the script says so.
import { MeshError } from "../errors.ts";
import { MessageType } from "../wire/message-types.ts";
import { checkKeys, checkWait, describe } from "./check.ts";
import { jobContext } from "./context.ts";
import type { NodeInfo, WaitOptions } from "./node-view.ts";
import { asCalled } from "./task-error.ts";

/** slot -> head: bring a worker up there, as `mesh up` does; answered with its node's name. */
export interface AddHost {
  host: string;
}

/** Asks the head, and waits until the job sees the host. Throws USAGE, UNREACHABLE, AUTHENTICATION, TIMEOUT or CANCELLED. */
export async function addHost(host: string, options: WaitOptions): Promise<NodeInfo> {
  const { node, self, view, head } = asCalled(() => {
    if (typeof host !== "string" || host === "") {
      throw new MeshError("USAGE", `pool.addHost takes a host of mesh.toml or a name for ssh, not ${describe(host)}`);
    }
    checkKeys("pool.addHost", options, ["timeoutMs", "signal"]);
    checkWait("pool.addHost", options);
    return jobContext();
  });
  if (!self.isDriver)
    throw new MeshError("USAGE", "pool.addHost is for the script itself: it logs in from the script's machine");
  const body: AddHost = { host };
  const name = (await node.request(head, MessageType.addHost, body, options)) as string;
  return await view.locate(name, options);
}
