// Runs the real binary.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const ROOT = resolve(import.meta.dirname, "../..");
export const MESH = join(ROOT, "dist/mesh");

interface Answer {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs `mesh` and waits for its end. */
export function mesh(args: string[], options: { cwd?: string; env?: Record<string, string> } = {}): Answer {
  return execute([MESH, ...args], options);
}

export function execute(command: string[], options: { cwd?: string; env?: Record<string, string> } = {}): Answer {
  const { NO_COLOR: _, FORCE_COLOR: __, ...env } = process.env;
  const result = Bun.spawnSync(command, {
    cwd: options.cwd ?? ROOT,
    env: { ...env, ...options.env },
    stdin: "ignore",
    timeout: 20_000,
  });
  return { status: result.exitCode, stdout: result.stdout.toString(), stderr: result.stderr.toString() };
}

/** An empty folder that is gone when the scope ends. */
export function temporaryFolder() {
  const path = mkdtempSync(join(tmpdir(), "mesh-cmd-"));
  return {
    path,
    write(name: string, content: string | Uint8Array) {
      writeFileSync(join(path, name), content);
      return join(path, name);
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}
