// The SSH connections of a tether: nobody is there who could be asked for anything.
import type { HostChannel } from "../../core/tether/host-tether.ts";
import { connectSsh } from "../../plugins/ssh/connect.ts";
import { Dialing } from "../../plugins/ssh/dialing.ts";

/** Sessions last 10 s without a link by default: one that is dead must be replaced within that. */
const KEEP_ALIVE = { intervalMs: 2_000, count: 3 };

const dialing = new Dialing();

/** Logs in with keys that need no passphrase, or by the agent. Rejects as connectSsh does. */
export async function connectHost(target: string, signal: AbortSignal): Promise<HostChannel> {
  return await connectSsh(target, { signal, dialing, keepAlive: KEEP_ALIVE });
}
