// A mesh for commands: a coordinator in this process behind memory links, whose answers a test gives, and a terminal that
// keeps what was printed. What commands ask is checked against the coordinator's own schemas.
import type { Command } from "commander";
import type { z } from "zod";
import { createProgram, mount } from "../../cmd/program.ts";
import type { Surroundings } from "../../cmd/surroundings.ts";
import { ManualClock } from "../../core/clock.ts";
import type { JobRecord, LogLines, NodeStatus, PathInfo, Status } from "../../core/coordinator/answers.ts";
import * as bodies from "../../core/coordinator/bodies.ts";
import { MeshError } from "../../core/errors.ts";
import type { Node } from "../../core/node/node.ts";
import { checkBody } from "../../core/wire/body-checks.ts";
import type { Address } from "../../core/wire/message.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { A, B, connect, nodeAt } from "../node/support.ts";

const { status, jobs, logs, killJob, killNode, issueToken, revoke, rotateCa, stopLogs } = bodies;
const SCHEMAS = { status, jobs, logs, killJob, killNode, issueToken, revoke, rotateCa, stopLogs };

type Asked = { [Name in keyof typeof SCHEMAS]: z.infer<(typeof SCHEMAS)[Name]> };
export type Answers = { [Name in keyof Asked]?: (body: Asked[Name], from: Address) => unknown };

/** 2026-01-02 15:04:05, wherever the tests run. */
export const NOW = new Date(2026, 0, 2, 15, 4, 5).getTime();
export const ESC = "\x1b";

/** One coordinator, and whoever connects to it. */
export class FakeMesh {
  readonly name: string;
  readonly answers: Answers;
  /** Everything commands asked, in order. */
  readonly asked: [name: string, body: unknown][] = [];
  /** Clients that were opened, and not disposed of. */
  open = 0;
  opened = 0;
  /** Whether commands reach it. */
  isUp = true;
  readonly clock = new ManualClock();
  coordinator: Node | undefined;

  constructor(answers: Answers = {}, name = "lab") {
    this.name = name;
    this.answers = { status: () => statusOf(), ...answers };
  }

  readonly openClient: Surroundings["openClient"] = async ({ mesh }) => {
    if (mesh !== undefined && mesh !== this.name) throw new MeshError("UNREACHABLE", `no mesh named ${mesh} is up`);
    if (!this.isUp) throw new MeshError("UNREACHABLE", `the mesh ${this.name} is not up`);
    const [near, far] = [nodeAt(A, this.clock), nodeAt(B)];
    for (const [name, answer] of Object.entries(this.answers)) {
      const known = name as keyof Asked;
      far.handleRequest(MessageType[known], (body: unknown, from) => {
        const checked = checkBody(SCHEMAS[known] as z.ZodType, known, body);
        this.asked.push([known, checked]);
        return answer(checked as never, from);
      });
    }
    await connect(near, far);
    this.coordinator = far;
    this.open++;
    this.opened++;
    return {
      node: near,
      coordinator: B,
      mesh: this.name,
      ask: async <Answer>(type: number, body: unknown, options = {}) =>
        (await near.request(B, type, body, options)) as Answer,
      meet: async () => {},
      natAndRendezvous: async () => ({ nat: null, rendezvous: [] }),
      [Symbol.asyncDispose]: async () => {
        this.open--;
        near.close();
      },
    };
  };

  /** Sends lines of a log to who asked for them, as the coordinator does: resolves when they are taken. */
  async lines(to: Address, lines: Partial<LogLines>): Promise<void> {
    await this.coordinator!.request(to, MessageType.logLines, { reader: 1, records: [], ...lines });
  }
}

/** What a person, or a program, has before it. */
export class Screen {
  stdout = "";
  stderr = "";
  /** Both, in order. */
  all = "";
  status: number | undefined;
  questions: string[] = [];
  /** Called before each write; may throw. */
  onWrite: (stream: "stdout" | "stderr", text: string) => void | Promise<void> = () => {};
  readonly interrupt = new AbortController();
}

export interface Setting {
  tty?: boolean;
  columns?: number;
  rows?: number;
  colour?: boolean;
  /** What the user says when asked; without it nobody is there. */
  answer?: boolean;
}

/** The surroundings of a command: prints to `screen`, asks `mesh`. */
export function around(mesh: FakeMesh, screen: Screen, setting: Setting = {}): Surroundings {
  const { tty = false, columns, rows, colour = false, answer } = setting;
  const write = (stream: "stdout" | "stderr") => async (bytes: Uint8Array) => {
    const text = new TextDecoder().decode(bytes);
    await screen.onWrite(stream, text);
    screen[stream] += text;
    screen.all += text;
  };
  return {
    openClient: mesh.openClient,
    stdout: write("stdout"),
    stderr: write("stderr"),
    isTty: { stdout: tty, stderr: tty },
    isOneTarget: tty,
    columns: () => columns,
    rows: () => rows,
    colour,
    clock: mesh.clock,
    now: () => NOW,
    canAsk: answer !== undefined,
    confirm: async (question) => {
      screen.questions.push(question);
      return answer === true;
    },
    catchSignals: () => ({ signal: screen.interrupt.signal, [Symbol.dispose]: () => {} }),
    exit: (status) => {
      screen.status = status;
    },
  };
}

interface CommandModule {
  command(context: undefined, around: Surroundings): unknown;
}

/** Runs `mesh LINE` with that module's command; resolves when it is over, rejects with its error. */
export async function run(module: CommandModule, line: string[], surroundings: Surroundings): Promise<void> {
  const program = createProgram().configureOutput({ writeErr: () => {} });
  mount(program, { name: line[0]!, summary: "" }, module.command(undefined, surroundings));
  for (const command of program.commands) (command as Command).configureOutput({ writeErr: () => {} });
  await program.parseAsync(line, { from: "user" });
}

export function nodeOf(more: Partial<NodeStatus> & { name: string }): NodeStatus {
  return {
    node: 17,
    host: more.name,
    role: "worker",
    slots: 8,
    used: 3,
    cores: 8,
    arch: "x64",
    load: 2.414,
    memory: { usedBytes: 5.1 * 2 ** 30, totalBytes: 31.3 * 2 ** 30 },
    tags: [],
    version: "0.1.0",
    build: "0.1.0+abc",
    state: "up",
    since: NOW - 3_600_000,
    addresses: [`tcp://${more.name}:7450`],
    path: pathOf("tcp", { rttMs: 0.4213 }),
    peers: [],
    rendezvous: null,
    ...more,
  };
}

/** A path that nothing is known of but its kind. */
export function pathOf(kind: string, more: Partial<PathInfo> = {}): PathInfo {
  return { kind, address: null, rttMs: null, sinceMs: null, why: null, ...more };
}

export function jobOf(more: Partial<JobRecord> & { job: number }): JobRecord {
  return {
    name: "primes",
    script: "/home/alice/primes.ts",
    user: "alice",
    host: "laptop",
    head: { node: 99, name: `run-${more.job}` },
    detached: false,
    state: "running",
    exitCode: null,
    cause: null,
    startedAt: NOW - 125_000,
    endedAt: null,
    progress: null,
    nodes: ["gpu1"],
    ...more,
  };
}

export function statusOf(more: Partial<Pick<Status, "nodes" | "jobs">> = {}): Status {
  const addresses = ["tcp://127.0.0.1:7450", "tcp://10.0.0.2:7450"];
  const coordinator = { name: "coordinator", node: 16, addresses, since: NOW - 11_520_000, version: "0.1.0" };
  return { mesh: { name: "lab", id: "0123456789abcdef", coordinator }, nodes: [], jobs: [], visitors: [], ...more };
}

/** A line of output as it stands in a log. */
export function record(text: string, more: Partial<LogLines["records"][number]> = {}): LogLines["records"][number] {
  return { timeMs: NOW, host: "gpu1", seat: 0, stream: "stdout", bytes: new TextEncoder().encode(text), ...more };
}
