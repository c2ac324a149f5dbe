// A host for tests of `mesh host`: a home and a state folder of its own on this machine, beside a mesh of real processes.
import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { connect } from "../../cmd/client.ts";
import { type HostAnswer, type HostTalkOptions, talkToHost } from "../../core/bootstrap/host-talk.ts";
import type { Order } from "../../core/bootstrap/host-words.ts";
import type { Conversation } from "../../core/bootstrap/shell.ts";
import { spawnConversation } from "../../core/bootstrap/spawned.ts";
import { identityFrom } from "../../core/identity/identity.ts";
import type { Joined } from "../../core/identity/join.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import { askForCertificate, CERTIFICATE_SOCKET } from "../../core/member/certificate-socket.ts";
import type { Client } from "../../core/member/client.ts";
import type { WorkerSettings } from "../../core/provider.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { binary, type ProcessInfo, processesOf, type TestFolder } from "../support/mesh.ts";
import type { TestMesh } from "../support/test-mesh.ts";

const TIMING = { heartbeatMs: 1_000, suspectAfterMs: 3_000, downAfterMs: 10_000 };

export class TestHost {
  readonly #mesh: TestMesh;
  readonly home: string;
  readonly progress: string[] = [];
  certificates = 0;

  constructor(mesh: TestMesh, home = "host") {
    this.#mesh = mesh;
    this.home = join(mesh.folder.path, home);
    mesh.folder.write({ [`${home}/.keep`]: "" });
  }

  get folder(): TestFolder {
    return this.#mesh.folder;
  }

  /** Of its node in the mesh. */
  at(name: string, file: string): string {
    return join(this.home, ".local/state/mesh/mesh/joined", name, file);
  }

  env(): Record<string, string | undefined> {
    return {
      PATH: process.env.PATH,
      HOME: this.home,
      TMPDIR: this.home,
      MESH_TEST_MARK: this.folder.marker,
      NO_COLOR: "1",
    };
  }

  spawn(command = binary): Conversation {
    return spawnConversation([command, "host"], { env: this.env() });
  }

  async talk<Op extends Order["op"]>(
    order: Extract<Order, { op: Op }>,
    options: Partial<HostTalkOptions> & { command?: string } = {},
  ): Promise<HostAnswer<Op>> {
    return await talkToHost(this.spawn(options.command), order, {
      label: "host1",
      certify: (publicKey) => this.certify(publicKey, "name" in order ? order.name : ""),
      progress: (text) => void this.progress.push(text),
      ...options,
    });
  }

  async certify(publicKey: Uint8Array, name: string): Promise<Joined> {
    this.certificates++;
    const body = { publicKey, role: "worker", name };
    return await this.asUser(async ({ node, coordinator }) => {
      return (await node.request(coordinator, MessageType.admit, body, { timeoutMs: 10_000 })) as Joined;
    });
  }

  /** As a command of the user on the coordinator's machine. */
  async asUser<Answer>(ask: (client: Client, meshId: string) => Promise<Answer>): Promise<Answer> {
    const { publicKey, keyPem } = createKeyPair();
    const name = `command-${randomBytes(6).toString("hex")}`;
    const socket = join(this.#mesh.state, CERTIFICATE_SOCKET);
    const joined = await askForCertificate(new UnixTransport(), socket, { publicKey, role: "client", name });
    const access = {
      identity: identityFrom({ ...joined, keyPem }),
      meshName: "mesh",
      coordinators: joined.coordinators,
    };
    const client = await connect({ ...access, isSaved: false }, { timing: TIMING, transports: ["tcp", "udp"] });
    try {
      return await ask(client, joined.meshId);
    } finally {
      await client[Symbol.asyncDispose]();
    }
  }

  async order(name: string, worker: Partial<WorkerSettings> = {}): Promise<Extract<Order, { op: "start" }>> {
    const meshId = await this.asUser(async (_, meshId) => meshId);
    const settings = { slots: 2, tags: [], ...TIMING, ...worker };
    return { op: "start", meshName: "mesh", meshId, name, build: buildOf(binary), worker: settings };
  }

  /** The binary where an upload puts it. */
  installed(): string {
    const place = `${this.home}/.cache/mesh/bin/${"ab".repeat(32)}`;
    mkdirSync(place, { recursive: true, mode: 0o700 });
    linkSync(binary, join(place, "mesh"));
    return join(place, "mesh");
  }

  /** What runs there, `mesh host` included. */
  processes(): ProcessInfo[] {
    return processesOf(this.folder.marker).filter(({ command }) => !command.includes("coordinator"));
  }

  /** Of the host's own workers, those that live. */
  workers(): number[] {
    return processesOf(this.folder.marker)
      .filter(({ command }) => command.includes("--managed"))
      .map(({ pid }) => pid);
  }
}

export function stopOrder(name: string, purge = false): Extract<Order, { op: "stop" }> {
  return { op: "stop", meshName: "mesh", name, graceMs: 5_000, purge };
}

function buildOf(path: string): string {
  const { version, commit } = JSON.parse(Bun.spawnSync([path, "version", "--json"]).stdout.toString());
  return `${version} (${commit})`;
}
