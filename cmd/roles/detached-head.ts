// Starts the head of a detached job: a process of its own, that outlives the coordinator and whoever submitted the job.
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import type { DetachedJob } from "../../core/coordinator/submissions.ts";
import { newNodeNumber } from "../../core/node/number.ts";
import type { MeshSettings, NodeSettings } from "../mesh-settings.ts";
import { ownCommand } from "../own-command.ts";

/**
 * Resolves when the process runs; what it says of itself goes to head.log in the job's folder. It is told what nodes take from mesh.toml:
 * from where it runs it finds no mesh.toml.
 */
export async function startDetachedHead(
  folder: string,
  _job: DetachedJob,
  { name, timing, transports }: Pick<MeshSettings, "name" | "timing" | "transports">,
): Promise<{ node: number }> {
  const node = newNodeNumber();
  const settings: NodeSettings = { timing, transports };
  const log = openSync(join(folder, "head.log"), "a", 0o600);
  try {
    const head = Bun.spawn(
      [...ownCommand("head"), name, "--detached", folder, String(node), JSON.stringify(settings)],
      {
        cwd: "/",
        env: process.env,
        detached: true,
        stdio: ["ignore", log, log],
      },
    );
    head.unref();
    return { node };
  } finally {
    closeSync(log);
  }
}
