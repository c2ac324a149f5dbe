// Starts the head of a detached job: a process of its own, that outlives the coordinator and whoever submitted the job.
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import type { DetachedJob } from "../../core/coordinator/submissions.ts";
import { newNodeNumber } from "../../core/node/number.ts";
import type { MeshSettings } from "../mesh-settings.ts";
import { ownCommand } from "../own-command.ts";

/**
 * Resolves when the process runs; what it says of itself goes to head.log in the job's folder. It is told the mesh's timing:
 * from where it runs it finds no mesh.toml.
 */
export async function startDetachedHead(
  folder: string,
  _job: DetachedJob,
  { name, timing }: Pick<MeshSettings, "name" | "timing">,
): Promise<{ node: number }> {
  const node = newNodeNumber();
  const log = openSync(join(folder, "head.log"), "a", 0o600);
  try {
    const head = Bun.spawn([...ownCommand("head"), name, "--detached", folder, String(node), JSON.stringify(timing)], {
      cwd: "/",
      env: process.env,
      detached: true,
      stdio: ["ignore", log, log],
    });
    head.unref();
    return { node };
  } finally {
    closeSync(log);
  }
}
