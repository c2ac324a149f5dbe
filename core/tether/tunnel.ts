// A worker's end of a tunnel: a Unix socket that sshd listens on for the tether, in a folder that this user alone may enter.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { joinedFolder } from "../identity/state-folder.ts";
import { runParent } from "../worker/run-folder.ts";

/** sun_path of sockaddr_un on Linux, its ending zero included. */
const PATH_LIMIT_BYTES = 107;
/** A tunnel that was there, or is to come, counts as one for so long: its socket is gone while the tether connects anew. */
const REMEMBERED_MS = 30_000;

/** Where the tunnel of a node is on its host: beside its credentials, or in /tmp/mesh-UID where that path would be too long. */
export function tunnelPath(meshName: string, nodeName: string): string {
  const path = join(joinedFolder(meshName, nodeName), "tunnel.sock");
  if (Buffer.byteLength(path) <= PATH_LIMIT_BYTES) return path;
  return join(runParent("/tmp"), `${createHash("sha256").update(path).digest("hex").slice(0, 24)}.tunnel`);
}

export class Tunnel {
  readonly path: string;
  readonly #clock: Clock;
  #seenAt = Number.NEGATIVE_INFINITY;

  constructor(path: string, clock: Clock) {
    this.path = path;
    this.#clock = clock;
  }

  /** Each address, and after it the way there through the tunnel, while there is one. */
  waysTo(addresses: readonly string[]): readonly string[] {
    return this.#isThere() ? addresses.flatMap(bothWays) : addresses;
  }

  /** One is likely to come: from now on it is looked for as if it was there. */
  expect(): void {
    this.#seenAt = this.#clock.now();
  }

  #isThere(): boolean {
    const now = this.#clock.now();
    if (existsSync(this.path)) this.#seenAt = now;
    return now - this.#seenAt < REMEMBERED_MS;
  }
}

function bothWays(address: string): string[] {
  return address.startsWith("tcp:") ? [address, address.replace("tcp:", "ssh:")] : [address];
}
