// What mesh.toml, or who starts one, may say of a rendezvous; what is missing is at its default.
import type { PortRange } from "../config/port-range.ts";

export interface RendezvousSettings {
  /** UDP and TCP ports for echoes and relays, both included. Default: any. */
  ports?: PortRange;
  /** What one pair may send through a relay in a second, both ways together. Default: no limit. */
  relayBytesPerSecond?: number;
  /** Pairs that are relayed at once, by UDP with two ports each. Default 2,000. */
  relayPairs?: number;
}
