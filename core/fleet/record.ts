// What `mesh up` has brought up from this machine: fleet.json in the mesh's state folder. By it `mesh down` knows hosts that
// no mesh.toml names, and `mesh up` which settings a worker was started with.
import { join } from "node:path";
import { readJsonFile, writeJsonFile } from "../identity/json-file.ts";
import type { FleetHost } from "./hosts.ts";

const FILE = "fleet.json";

export class FleetRecord {
  readonly #path: string;
  readonly #hosts: Map<string, FleetHost>;

  /** Throws AUTHENTICATION when the file is damaged or others can get at it. */
  constructor(stateFolder: string) {
    this.#path = join(stateFolder, FILE);
    const hosts = readJsonFile(this.#path, checkHosts, "delete it, and run mesh up again") ?? [];
    this.#hosts = new Map(hosts.map((host) => [host.name, host]));
  }

  get hosts(): FleetHost[] {
    return [...this.#hosts.values()];
  }

  /** Whether the host was brought up with these very settings. */
  isSame(host: FleetHost): boolean {
    const known = this.#hosts.get(host.name);
    return known !== undefined && Bun.deepEquals(known, host);
  }

  set(host: FleetHost): void {
    this.#hosts.set(host.name, host);
    this.#save();
  }

  delete(name: string): void {
    if (this.#hosts.delete(name)) this.#save();
  }

  #save(): void {
    writeJsonFile(this.#path, { hosts: this.hosts });
  }
}

function checkHosts(value: unknown): FleetHost[] {
  const { hosts } = value as { hosts: FleetHost[] };
  const isHost = ({ name, provider, target, worker }: FleetHost) =>
    [name, provider, target].every((text) => typeof text === "string") && Array.isArray(worker.tags);
  if (!Array.isArray(hosts) || !hosts.every(isHost)) throw new Error("it lacks something");
  return hosts;
}
