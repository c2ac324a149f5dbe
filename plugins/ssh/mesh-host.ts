// Talking to `mesh host` over a login.
import type { HostFacts } from "../../core/bootstrap/host-facts.ts";
import { type HostAnswer, talkToHost } from "../../core/bootstrap/host-talk.ts";
import type { Order } from "../../core/bootstrap/host-words.ts";
import { binaryCommand, binaryPath } from "../../core/bootstrap/install.ts";
import type { Shell } from "../../core/bootstrap/shell.ts";
import { MeshError } from "../../core/errors.ts";
import type { FoundWorker, ProvidedHost, ProviderContext } from "../../core/provider.ts";

export async function workersOn(
  shell: Shell,
  facts: HostFacts,
  host: ProvidedHost,
  context: ProviderContext,
): Promise<FoundWorker[]> {
  const path = await anyBinary(facts, context);
  if (path === undefined) return [];
  return (await talk(shell, path, { op: "list", meshName: context.mesh.name }, host, context)).workers;
}

/** A binary of mesh on the host: this build's, else any. Without one no worker can run there. */
export async function anyBinary(
  { folders, platform }: HostFacts,
  context: ProviderContext,
): Promise<string | undefined> {
  const own = await context.binary(platform).catch(() => undefined); // another build can be asked just as well
  const usable = folders.flatMap(({ path, problem, binaries }) =>
    problem ? [] : [...binaries].filter(([, state]) => state === "whole").map(([sha256]) => ({ path, sha256 })),
  );
  const best = usable.find(({ sha256 }) => sha256 === own?.sha256) ?? usable[0];
  return best && binaryPath(best.path, best);
}

export async function talk<Op extends Order["op"]>(
  shell: Shell,
  path: string,
  order: Extract<Order, { op: Op }>,
  host: ProvidedHost,
  { certify, tunnel, progress, signal }: ProviderContext,
): Promise<HostAnswer<Op>> {
  const conversation = await shell.open(binaryCommand(path, "host"), { signal });
  return await talkToHost<Op>(conversation, order, {
    label: shell.label,
    certify: (publicKey) => certify({ publicKey, name: host.name }),
    unreached: (socketPath, why) =>
      tunnel(host, socketPath).catch((error: Error) => {
        throw new MeshError("UNREACHABLE", `${why.message}; and there is no tunnel over SSH: ${error.message}`);
      }),
    progress,
    signal,
  });
}
