// What `start` would do about a host, in words.
import type { FoundWorker, Plan, ProvidedHost, ProviderContext } from "../provider.ts";

/** `sends` is what would have to be sent, in words. Whether settings differ is known to the host alone, so a worker of this build counts as wanted. */
export function planFrom(
  { name, worker }: ProvidedHost,
  found: readonly FoundWorker[],
  { mesh, build }: Pick<ProviderContext, "mesh" | "build">,
  sends?: string,
): Plan {
  const running = found.find((each) => each.mesh === mesh.name && each.name === name);
  if (running?.build === build) return { action: "none", steps: [] };
  const sending = sends === undefined ? [] : [`send ${sends}`];
  const { role = "worker" } = worker;
  if (running)
    return { action: "replace", steps: [...sending, `replace the ${role} of ${running.build} by one of ${build}`] };
  if (role === "rendezvous") return { action: "start", steps: [...sending, "start a rendezvous"] };
  const slots = worker.slots === undefined ? "a slot for each core" : `${worker.slots} slots`;
  return { action: "start", steps: [...sending, `start a worker with ${slots}`] };
}
