// The place of a job's head in the mesh. Loaded only when there is a mesh to join.
import { randomBytes } from "node:crypto";
import { systemClock } from "../../core/clock.ts";
import { identityFrom } from "../../core/identity/identity.ts";
import { checkCertified } from "../../core/identity/join.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import type { Head, HeadMesh } from "../../core/job/head.ts";
import { MeshJob } from "../../core/job/mesh-job.ts";
import { watchStandstill } from "../../core/job/standstill.ts";
import type { Log } from "../../core/log.ts";
import { type Access, joinedAccess, localAccess } from "../../core/member/access.ts";
import { jobViewOf } from "../../core/member/job-view.ts";
import { defaultListening } from "../../core/member/listening.ts";
import { Member } from "../../core/member/member.ts";
import type { Node } from "../../core/node/node.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { meshSettings, type NodeSettings } from "../mesh-settings.ts";
import { nodeTransport } from "../node-transport.ts";
import { buildName, machineReport, nodeFacts } from "./node-process.ts";

const unix = new UnixTransport();

/** The head's place in the mesh, from before it is known whether there is one. */
export class HeadMembership {
  readonly #mesh: string;
  readonly #node: Node;
  readonly #log: Log;
  readonly #notice: (text: string) => void;
  readonly #settings: NodeSettings | undefined;
  #member: Member | undefined;
  #job: MeshJob | undefined;
  #head: Head | undefined;

  /** `settings` by default as the nearest mesh.toml says. */
  constructor(mesh: string, node: Node, log: Log, notice: (text: string) => void, settings?: NodeSettings) {
    this.#mesh = mesh;
    this.#node = node;
    this.#log = log;
    this.#notice = notice;
    this.#settings = settings;
  }

  serve(head: Head): void {
    this.#head = head;
  }

  /** Joins as `name`. Without a mesh that is up an attached job is told so and runs here; a detached one cannot. */
  async join(name: string, detached?: number): Promise<HeadMesh | undefined> {
    try {
      const access = await this.#access(name);
      const settings = this.#settings ?? (await meshSettings(this.#mesh));
      const member = await this.#start(access, settings, detached !== undefined);
      const { downAfterMs } = settings.timing;
      watchStandstill(downAfterMs, (ms) =>
        detached === undefined ? this.#stoodStill(ms, downAfterMs) : this.#head?.stoodStill(),
      );
      const job = new MeshJob({
        node: this.#node,
        host: access.identity.name,
        coordinator: () => (member.isConnected ? member.coordinator : undefined),
        notice: this.#notice,
        disowned: (reason) => void this.#head?.stop({ signal: "SIGTERM", now: true }, reason),
      });
      this.#job = job;
      return {
        name: access.identity.name,
        view: (isUsed) =>
          jobViewOf(member.nodes, { isReached: (node) => this.#node.hasPeer({ node, slot: 0 }), isUsed }),
        job,
        detached,
      };
    } catch (error) {
      if (detached !== undefined) throw error;
      this.#notice(`${(error as Error).message}. This run uses this machine alone`);
      return undefined;
    }
  }

  peerLost(...lost: Parameters<Member["peerLost"]>): void {
    this.#member?.peerLost(...lost);
  }

  async leave(): Promise<void> {
    await this.#member?.close();
  }

  async #access(name: string): Promise<Access> {
    const local = await localAccess(unix, this.#mesh, "head", name);
    if (local) return local;
    const joined = joinedAccess(this.#mesh, "head");
    if (joined) return await derivedAccess(joined);
    const { notUp } = await import("../client.ts");
    throw notUp({ name: this.#mesh, file: undefined });
  }

  /** The workers have ended the job's slots meanwhile: whoever sits at the terminal is told so, and it is over. */
  #stoodStill(stoodMs: number, downAfterMs: number): void {
    const [stood, limit] = [stoodMs, downAfterMs].map((ms) => Math.round(ms / 1_000));
    const because = `this machine or the job's head stood still for ${stood} s; after ${limit} s the mesh has given the job up`;
    this.#notice(because);
    void this.#head?.stop({ signal: "SIGTERM", now: true }, because);
  }

  async #start(access: Access, { timing, transports }: NodeSettings, isPatient: boolean): Promise<Member> {
    const member: Member = new Member({
      ...access,
      node: this.#node,
      transport: nodeTransport({ credentials: () => member.credentials, transports }),
      ...defaultListening(transports),
      build: buildName(),
      timing,
      clock: systemClock,
      log: this.#log,
      facts: nodeFacts({ slots: 0 }),
      report: () => machineReport(0),
      changed: (changes) => this.#head?.meshChanged(changes),
      registered: () => void this.#job?.again(),
    });
    this.#member = member;
    await member.start({ isPatient });
    return member;
  }
}

/** As who joined from here, but of another name: several jobs may run side by side. */
async function derivedAccess(joined: Access): Promise<Access> {
  const { connect } = await import("../client.ts");
  const { publicKey, keyPem } = createKeyPair();
  const { meshId, role, name } = joined.identity;
  const own = { meshId, role, name: `${name}.${randomBytes(4).toString("hex")}`, publicKey };
  await using client = await connect(joined, await meshSettings(joined.meshName));
  const answer = await client.ask(MessageType.certify, { publicKey, role, name: own.name }, { timeoutMs: 10_000 });
  const { certificatePem, caPem } = checkCertified(answer, own, Date.now());
  return { ...joined, identity: identityFrom({ certificatePem, caPem, keyPem }), isSaved: false };
}
