// A coordinator and nodes of one process, joined by memory links; time stands still until a test moves it.
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "../../core/clock.ts";
import type { LogLines, MembershipUpdate } from "../../core/coordinator/answers.ts";
import type { BeginJob, LogRecord, Register, Report, SubmitJob } from "../../core/coordinator/bodies.ts";
import { Coordinator, type CoordinatorOptions } from "../../core/coordinator/coordinator.ts";
import { MembershipView } from "../../core/coordinator/membership-view.ts";
import type { IdentityServices } from "../../core/coordinator/trust.ts";
import type { Role } from "../../core/identity/names.ts";
import { Node } from "../../core/node/node.ts";
import type { Link } from "../../core/transport.ts";
import { Codec } from "../../core/wire/codec.ts";
import type { Address } from "../../core/wire/message.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";

/** When the tests' wall clock begins, ms since 1970. */
export const START = Date.parse("2026-11-24T12:00:00Z");

/** Lets everything that is under way between memory links happen. */
export async function settled(turns = 20): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((turn) => setImmediate(turn));
}

/** What a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  return promise.then(
    (value) => Promise.reject(new Error(`it resolved: ${JSON.stringify(value)}`)),
    (error) => error,
  );
}

export function tempFolder(): { path: string } & Disposable {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "mesh-coordinator-")));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

const noIdentity: IdentityServices = {
  ca: { issue: async () => "", rotate: async () => {}, trust: () => "CA", overlapUntil: () => undefined },
  tokens: { create: () => "token" },
  revocations: {
    version: 0,
    revokeName: () => {},
    issueTime: (_, nowMs) => nowMs,
    toData: () => ({ version: 0, serials: [], names: [] }),
  },
  expiryOf: () => 0,
};

type TestOptions = Partial<CoordinatorOptions> & { folder: string };

/** A coordinator of the node `nodeId`, and the sessions it has. */
export class TestCoordinator {
  readonly node: Node;
  readonly clock: ManualClock;
  readonly coordinator: Coordinator;
  readonly problems: Error[] = [];
  readonly #roles = new Map<number, Role>();

  constructor(options: TestOptions, clock = new ManualClock(), nodeId = 16) {
    this.clock = clock;
    this.node = new Node({ node: nodeId, slot: 0 }, new Codec());
    this.coordinator = new Coordinator({
      node: this.node,
      name: "coordinator",
      mesh: { id: "0123456789abcdef", name: "lab" },
      version: "1.2.3",
      build: "abc",
      machine: { host: "desk", cores: 4, arch: "x64", memoryBytes: 8e9 },
      identity: noIdentity,
      startDetached: async () => ({}),
      dropRevoked: () => {},
      onProblem: (error) => void this.problems.push(error as Error),
      explainPath: async () => ({ nat: null, rendezvous: [] }),
      clock,
      wallMs: () => START + clock.now(),
      ...options,
    });
    this.node.onPeerLost = ({ node }, error) => {
      this.coordinator.peerDown({ node, role: this.#roles.get(node)! }, error);
    };
    this.node.onDrained = ({ node }) => this.coordinator.peerDrained(node);
  }

  /** A session with `node`. */
  connect(node: TestNode): void {
    const [near, far] = memoryPair(node.name);
    this.#roles.set(node.id, node.role);
    this.node.addNode({ node: node.id, role: node.role, link: far });
    this.coordinator.peerUp({ node: node.id, name: node.name, role: node.role });
    node.node.addNode({ node: this.node.address.node, role: "coordinator", link: near });
    node.link = near;
    node.coordinator = this.node.address;
  }

  /** A node with a session; workers and heads have registered. */
  async join(name: string, role: Role = "worker", more: Partial<Register> = {}): Promise<TestNode> {
    const node = new TestNode(name, role);
    this.connect(node);
    if (role !== "client") await node.register(more);
    await settled();
    return node;
  }

  get names(): string[] {
    return this.coordinator.status.nodes.map(({ name, state }) => (state === "up" ? name : `${name} ${state}`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.coordinator.close();
  }
}

let lastId = 100;

/** A node as it stands to its coordinator. */
export class TestNode {
  readonly id: number;
  readonly name: string;
  readonly role: Role;
  readonly node: Node;
  readonly view = new MembershipView();
  readonly updates: MembershipUpdate[] = [];
  /** Messages that came, by type, as they were. */
  readonly got: [type: number, body: unknown][] = [];
  readonly lines: LogLines[] = [];
  link!: Link;
  coordinator!: Address;

  constructor(name: string, role: Role, id = ++lastId) {
    this.id = id;
    this.name = name;
    this.role = role;
    this.node = new Node({ node: id, slot: 0 }, new Codec());
    this.node.handle(MessageType.membership, ({ payload, fromNode }) => {
      const update = this.node.codec.decode(payload) as MembershipUpdate;
      this.updates.push(update);
      if (!this.view.apply(fromNode, update)) this.tell(MessageType.membership, {});
    });
    for (const type of [MessageType.register, MessageType.introduce, MessageType.revoked, MessageType.shutdown]) {
      this.node.handle(type, ({ payload }) => void this.got.push([type, this.node.codec.decode(payload)]));
    }
    this.node.handle(MessageType.stopJob, ({ payload }) => {
      this.got.push([MessageType.stopJob, this.node.codec.decode(payload)]);
    });
    this.node.handleRequest(MessageType.logLines, (lines: LogLines) => this.takeLines(lines));
  }

  /** What it does with lines; its end is the credit for more. */
  takeLines: (lines: LogLines) => unknown = (lines) => void this.lines.push(lines);

  ask<T = unknown>(type: number, body: unknown): Promise<T> {
    return this.node.request(this.coordinator, type, body) as Promise<T>;
  }

  tell(type: number, body: unknown): void {
    this.node.notify(this.coordinator, type, body);
  }

  register(more: Partial<Register> = {}): Promise<unknown> {
    return this.ask(MessageType.register, { ...registerBody(this), ...more });
  }

  begin(more: Partial<BeginJob> = {}): Promise<{ job: number; warning?: string }> {
    return this.ask(MessageType.beginJob, { ...beginBody, ...more });
  }

  print(text: string, more: Partial<LogRecord> = {}): Promise<unknown> {
    return this.ask(MessageType.jobLog, { records: [outputOf(text, more)] });
  }

  /** Names of the nodes it knows, as its view says. */
  get names(): string[] {
    return this.view
      .nodes()
      .map(({ name }) => name)
      .sort();
  }

  /** Messages of one type that came. */
  of(type: number): unknown[] {
    return this.got.filter(([each]) => each === type).map(([, body]) => body);
  }

  /** All that came as lines of logs, as one text. */
  get text(): string {
    return this.lines.flatMap(({ records }) => records.map(({ bytes }) => Buffer.from(bytes).toString())).join("");
  }

  leave(): void {
    this.link.close();
  }

  crash(): void {
    this.link.destroy(new Error("it crashed"));
  }
}

function registerBody({ name, role }: TestNode): Register {
  return {
    host: `${name}.lan`,
    slots: role === "worker" ? 4 : 0,
    cores: 4,
    arch: "x64",
    memoryBytes: 8e9,
    tags: [],
    version: "1.2.3",
    build: "abc",
    addresses: [`tcp://${name}:7450`],
    since: START,
  };
}

export const beginBody: BeginJob = {
  name: "primes",
  script: "/home/ann/primes.ts",
  user: "ann",
  host: "desk",
  startedAt: START,
  detached: false,
};

export const submitBody: SubmitJob = {
  name: "primes",
  script: "/home/ann/primes.ts",
  args: ["--fast"],
  user: "ann",
  host: "desk",
  driver: Buffer.from("driver code"),
  worker: Buffer.from("worker code"),
  options: { eager: false },
};

export const report: Report = {
  slotsUsed: 3,
  load1: 0.5,
  memory: { usedBytes: 1e9, totalBytes: 8e9 },
  peers: [],
};

export function outputOf(text: string, more: Partial<LogRecord> = {}): LogRecord {
  return { timeMs: START, host: "gpu1", seat: 1, stream: "stdout", bytes: Buffer.from(text), ...more };
}
