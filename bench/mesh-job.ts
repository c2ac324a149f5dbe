// Runs a job on a mesh of its own: a coordinator and one worker on this machine, gone with it. `mesh-job.ts JOB` prints
// what the job prints.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");
const MESH = join(ROOT, "dist/mesh");
const folder = mkdtempSync(join(tmpdir(), "mesh-bench-"));
const env = { ...process.env, XDG_STATE_HOME: join(folder, "state"), XDG_RUNTIME_DIR: folder };

/** Starts a role and waits until it says that it is ready. */
async function start(...args: string[]): Promise<Bun.Subprocess> {
  const role = Bun.spawn([MESH, ...args], { env, stdio: ["ignore", "ignore", "pipe"] });
  const ready = Promise.withResolvers<void>();
  const read = async () => {
    const decoder = new TextDecoder();
    let said = "";
    for await (const chunk of role.stderr) {
      said += decoder.decode(chunk, { stream: true });
      if (said.includes(" ready ")) ready.resolve();
    }
    ready.reject(new Error(`mesh ${args[0]} ended: ${said}`));
  };
  void read();
  await ready.promise;
  return role;
}

const roles: Bun.Subprocess[] = [];
try {
  roles.push(await start("coordinator", "--listen", "tcp://127.0.0.1:0"));
  roles.push(await start("worker", "--name", "bench", "--slots", "1", "--listen", "tcp://127.0.0.1:0"));
  const run = Bun.spawn([MESH, "run", process.argv[2]!], { env, stdio: ["ignore", "inherit", "inherit"] });
  process.exitCode = await run.exited;
} finally {
  for (const role of roles.reverse()) {
    role.kill("SIGTERM");
    await role.exited;
  }
  rmSync(folder, { recursive: true });
}
