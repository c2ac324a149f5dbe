// pipe(): values from those who hold its one end to those who hold its other, wherever they are.
import { MeshError } from "../errors.ts";
import { checkKeys, checkWhole, describe } from "./check.ts";
import { handleServices } from "./handle-services.ts";
import { Funnel, Spout } from "./pipe-ends.ts";
import type { WhenFull } from "./pipe-sender.ts";
import { asCalled } from "./task-error.ts";

export interface PipeOptions {
  /**
   * Bytes that each sending process may be ahead of those who receive, 1 to 2^30; one message goes over it. Each message
   * counts 64 more than its own. Default 1 MiB. So much memory it takes at most in the process that made the pipe.
   */
  highWaterBytes?: number;
  /** What `send` does at that limit: wait (default), drop the value and count it, or fail with FULL. */
  full?: WhenFull;
  /** How many funnels have to be closed before the pipe is: copies in other processes count. Default 1, at most 65,535. */
  senders?: number;
  /** The same for its spouts. */
  receivers?: number;
}

const HIGH_WATER_BYTES = 1024 * 1024;
const WHEN_FULL: readonly WhenFull[] = ["wait", "drop", "fail"];

/**
 * Makes a pipe: what is sent into the funnel comes out of the spout, once and whole, and in order as far as it is of one
 * sender. Both ends may be passed to tasks, captured, and sent through pipes, and used by many. What was not received lies
 * in the process that made the pipe, and ends with it. Throws USAGE for options out of range.
 */
export function pipe<T>(options: PipeOptions = {}): [funnel: Funnel<T>, spout: Spout<T>] {
  return asCalled(() => {
    checkKeys("pipe", options, ["highWaterBytes", "full", "senders", "receivers"]);
    const { highWaterBytes = HIGH_WATER_BYTES, full = "wait", senders = 1, receivers = 1 } = options;
    checkWhole("pipe: highWaterBytes", highWaterBytes, 1, 2 ** 30);
    checkWhole("pipe: senders", senders, 1, 0xffff);
    checkWhole("pipe: receivers", receivers, 1, 0xffff);
    if (!WHEN_FULL.includes(full)) {
      throw new MeshError("USAGE", `pipe: full is "wait", "drop" or "fail", not ${describe(full)}`);
    }
    const { pipes } = handleServices();
    const place = pipes.make({ highWaterBytes, senders, receivers });
    return [new Funnel<T>(pipes, place, highWaterBytes, full), new Spout<T>(pipes, place)];
  });
}
