// The coordinator on a host of mesh.toml: started over the host's provider, used by this machine as a head of the mesh.
import { hostname } from "node:os";
import { MeshError } from "../../core/errors.ts";
import type { FleetHost } from "../../core/fleet/hosts.ts";
import { saveCredentials } from "../../core/identity/credentials.ts";
import { checkCertified } from "../../core/identity/join.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import { joinedFolder } from "../../core/identity/state-folder.ts";
import type { CoordinatorStarted, Provider, ProviderContext } from "../../core/provider.ts";
import type { MeshSettings } from "../mesh-settings.ts";
import { nameOf } from "../roles/joining.ts";

/** Starts it unless it runs there, and keeps the right to use it in this user's state folder. Throws what the provider throws. */
export async function startRemoteCoordinator(
  host: FleetHost,
  provider: Provider,
  { name: meshName, listen, transports, timing, leaseMs, rendezvous }: MeshSettings,
  context: ProviderContext,
): Promise<CoordinatorStarted> {
  if (!provider.startCoordinator) {
    throw new MeshError(
      "CONFIG",
      `${host.name}: the provider ${provider.name} starts no coordinators: name another host`,
    );
  }
  const { publicKey, keyPem } = createKeyPair();
  const name = `user-${nameOf(hostname())}`;
  const order = { listen, transports, timing, rendezvous, leaseMs, user: { publicKey, name } };
  const started = await provider.startCoordinator(host, order, context);
  const { meshId, coordinators } = started.joined;
  const certified = checkCertified(started.joined, { meshId, role: "head", name, publicKey }, Date.now());
  const node = { meshId, meshName, role: "head", name, coordinators, credentials: { ...certified, keyPem } } as const;
  saveCredentials(joinedFolder(meshName, name), node);
  return started;
}
