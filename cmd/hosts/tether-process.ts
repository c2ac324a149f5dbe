// The tether of a mesh as a process of this machine, for commands that need one.
import { closeSync, openSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { stateFolder } from "../../core/identity/state-folder.ts";
import type { TetherAccess } from "../../core/tether/ensure.ts";
import { DAEMON_MARK } from "../../core/worker/process-tree.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { ownCommand } from "../own-command.ts";
import { buildName } from "../roles/node-process.ts";

/** A log that has grown so large begins anew with the next tether. */
const LOG_LIMIT_BYTES = 1024 * 1024;
/** Hosts are added side by side: one start serves them all. */
const START_EVERY_MS = 2_000;

/** For ensureTether and releaseTether. */
export function tetherAccess(meshName: string, signal?: AbortSignal): TetherAccess {
  const asker = { build: buildName(), agent: process.env.SSH_AUTH_SOCK };
  const start = () => startTether(meshName);
  return { meshName, asker, unix: new UnixTransport(), start, ...(signal && { signal }) };
}

const started: number[] = [];

/** Pids of those that this process has started. */
export function startedTethers(): readonly number[] {
  return started;
}

let startedAt = Number.NEGATIVE_INFINITY;

/** Starts one, detached: it outlives the command, and its terminal. What it says goes to tether.log in the mesh's state folder. */
function startTether(meshName: string): void {
  if (performance.now() - startedAt < START_EVERY_MS) return;
  startedAt = performance.now();
  const log = openLog(join(stateFolder(meshName), "tether.log"));
  try {
    const tether = Bun.spawn([...ownCommand("tether"), meshName], {
      cwd: "/",
      env: { ...process.env, [DAEMON_MARK.name]: DAEMON_MARK.value },
      detached: true,
      stdio: ["ignore", log, log],
    });
    tether.unref();
    started.push(tether.pid);
  } finally {
    closeSync(log);
  }
}

function openLog(path: string): number {
  const log = openSync(path, "a", 0o600);
  if (statSync(path).size > LOG_LIMIT_BYTES) truncateSync(path);
  return log;
}
