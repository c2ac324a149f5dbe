// What a tether knows of its mesh: who listens where, and whether it is really a node that does.
import { readCoordinatorPlace } from "../../core/coordinator/folder-lock.ts";
import { MeshError } from "../../core/errors.ts";
import { stateFolderPath } from "../../core/identity/state-folder.ts";
import type { Access } from "../../core/member/access.ts";
import { clientAccess, connect, notUp } from "../client.ts";
import { meshSettings } from "../mesh-settings.ts";
import { askStatus } from "../operate/asking.ts";
import { meshTransport } from "../transport.ts";

/** A certificate is used for so long; the next one may be renewed, or of another CA. */
const ACCESS_MS = 60_000;
const PROOF_LIMIT_MS = 4_000;
const COORDINATOR = "coordinator";

export class TetherMesh {
  readonly #name: string;
  #access: { access: Access; at: number } | undefined;

  constructor(meshName: string) {
    this.#name = meshName;
  }

  /** Names of nodes by their addresses; of the coordinator alone while that cannot be asked. */
  async addresses(): Promise<Map<string, string[]>> {
    const access = await this.#currentAccess();
    const found = new Map<string, string[]>();
    const add = (address: string, name: string) => found.set(address, [...(found.get(address) ?? []), name]);
    const place = readCoordinatorPlace(stateFolderPath(this.#name));
    for (const address of new Set([...access.coordinators, ...(place?.addresses ?? [])])) add(address, COORDINATOR);
    for (const { name, addresses } of await this.#nodes(access)) for (const address of addresses) add(address, name);
    return found;
  }

  /** Rejects unless a node of this mesh answers at that address. */
  async prove(address: string): Promise<void> {
    const { identity } = await this.#currentAccess();
    const transport = meshTransport({ credentials: () => identity.credentials });
    const link = await transport.dial(address, { timeoutMs: PROOF_LIMIT_MS });
    link.attach({ frame: () => {}, drained: () => {}, closed: () => {} });
    link.close();
  }

  async #nodes(access: Access): Promise<{ name: string; addresses: string[] }[]> {
    try {
      await using client = await connect(access, await meshSettings(this.#name));
      const { nodes, visitors } = await askStatus(client);
      return [...nodes.filter(({ state }) => state !== "down"), ...visitors];
    } catch {
      return []; // it is away: its own address is known all the same
    }
  }

  async #currentAccess(): Promise<Access> {
    const now = performance.now();
    if (this.#access && now - this.#access.at < ACCESS_MS) return this.#access.access;
    const settings = await meshSettings(this.#name);
    const access = await clientAccess(settings).catch((error) => this.#access?.access ?? Promise.reject(error));
    const usable = access ?? this.#access?.access;
    if (!usable) throw new MeshError("UNREACHABLE", notUp(settings).message);
    this.#access = { access: usable, at: now };
    return usable;
  }
}
