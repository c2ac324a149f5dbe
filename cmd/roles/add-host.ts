// What a head does when its script wants one more host: `mesh up`, as its user would call it.
import { MESH_ERROR_CODES, MeshError, type MeshErrorCode } from "../../core/errors.ts";
import { ownCommand } from "../own-command.ts";

interface Answer {
  hosts: { name: string; error: { code: string; message: string } | null }[];
}

/** Resolves with the name of the worker's node. Throws what `mesh up` says went wrong. */
export async function addHost(host: string, mesh: string): Promise<string> {
  const up = Bun.spawn([...ownCommand("up"), "--mesh", mesh, "--json", "--", host], {
    env: process.env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr] = await Promise.all([new Response(up.stdout).text(), new Response(up.stderr).text()]);
  const [added] = answerIn(stdout)?.hosts ?? [];
  if (!added)
    throw new MeshError(
      "UNREACHABLE",
      `${host} could not be added: ${stderr.trim() || `mesh up ended with ${up.exitCode}`}`,
    );
  if (added.error) throw new MeshError(codeOf(added.error.code), added.error.message);
  return added.name;
}

function answerIn(text: string): Answer | undefined {
  try {
    return JSON.parse(text) as Answer;
  } catch {
    return undefined; // it ended before it could say anything
  }
}

function codeOf(text: string): MeshErrorCode {
  return MESH_ERROR_CODES.find((code) => code === text) ?? "UNREACHABLE";
}
