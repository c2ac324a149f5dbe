// What stands behind the handles of one process: ties pipes and references to its node and lets them travel.
import { type Clock, systemClock } from "../clock.ts";
import type { Node } from "../node/node.ts";
import { jobContext } from "./context.ts";
import { FUNNEL, Funnel, type FunnelFields, SPOUT, Spout, type SpoutFields } from "./pipe-ends.ts";
import { PipeService } from "./pipe-service.ts";
import { REF, Ref, type RefFields } from "./put-ref.ts";
import { PutService } from "./put-service.ts";

export interface HandleOptions {
  node: Node;
  /** How people know this process: "here/0", "gpu1/2". */
  name: string;
  /** The run folder, which the job's processes on this host share. */
  folder?: string;
  clock?: Clock;
}

export interface HandleServices {
  pipes: PipeService;
  puts: PutService;
}

const services = new WeakMap<Node, HandleServices>();

/** Lets a process make and get handles. Once for each node, before the job's code is loaded. */
export function serveHandles({ node, name, folder, clock = systemClock }: HandleOptions): HandleServices {
  const pipes = new PipeService(node, name, clock);
  const puts = new PutService(node, name, folder, clock);
  const { handles } = node.codec;
  handles.set(FUNNEL, ([home, slot, pipe, homeName, highWaterBytes, full]: FunnelFields) => {
    return new Funnel(pipes, { home: { node: home, slot }, pipe, homeName }, highWaterBytes, full);
  });
  handles.set(SPOUT, ([home, slot, pipe, homeName]: SpoutFields) => {
    return new Spout(pipes, { home: { node: home, slot }, pipe, homeName });
  });
  handles.set(REF, ([owner, slot, id, sizeBytes, ownerName]: RefFields) => {
    return new Ref(puts, { owner: { node: owner, slot }, id, sizeBytes, ownerName });
  });
  services.set(node, { pipes, puts });
  return { pipes, puts };
}

/** Those of the process that runs this. Throws USAGE outside of `mesh run`. */
export function handleServices(): HandleServices {
  const { node } = jobContext();
  const found = services.get(node);
  if (!found) throw new Error("the process has no handle services"); // slot.ts makes them
  return found;
}
