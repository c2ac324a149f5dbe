// What the processes of nodes share: their run folder, their node, the socket of their slots, what they tell the mesh.
import { readFileSync } from "node:fs";
import { freemem, hostname, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import type { Register, Report } from "../../core/coordinator/bodies.ts";
import { type Log, lineLog, sparingLog } from "../../core/log.ts";
import { Node } from "../../core/node/node.ts";
import { newNodeNumber } from "../../core/node/number.ts";
import { Codec } from "../../core/wire/codec.ts";
import type { Address } from "../../core/wire/message.ts";
import { NODE_SOCKET, nodeAddress } from "../../core/worker/control.ts";
import type { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { version } from "../version.ts";

/** A node with a new number that keeps its process running. */
export function newNode(number = newNodeNumber()): Node {
  const node = new Node(nodeAddress(number), new Codec());
  node.hold();
  return node;
}

/** Takes the links of slots, at the node's socket in its run folder. */
export function listenForSlots(
  node: Node,
  unix: UnixTransport,
  folder: string,
  connected: (slot: Address) => void,
): Promise<unknown> {
  return unix.listen(join(folder, NODE_SOCKET), (link) => node.accept(link, connected));
}

/** The log of a role that runs in the foreground: on standard error, a line for each event. */
export function foregroundLog(): Log {
  // A role goes on when nobody reads its log any more (`mesh worker 2>&1 | head`); commands end then.
  process.stderr.removeAllListeners("error");
  process.stderr.on("error", () => {});
  const lines = lineLog(
    (line) => process.stderr.write(line),
    () => new Date(),
  );
  return sparingLog(lines, systemClock);
}

/** "0.1.0 (1a2b3c4)": two nodes of the same build are of the same binary. */
export function buildName(): string {
  const { version: number, commit } = version();
  return `${number} (${commit})`;
}

/** What a node tells the coordinator of itself and its machine. */
export function nodeFacts({ slots, tags = [] }: { slots: number; tags?: string[] }): Omit<Register, "addresses"> {
  const { version: number, commit } = version();
  return {
    host: hostname(),
    slots,
    cores: navigator.hardwareConcurrency,
    arch: process.arch,
    memoryBytes: totalmem(),
    tags,
    version: number,
    build: commit,
    since: Date.now() - Math.round(process.uptime() * 1000),
  };
}

/** What the machine is doing. */
export function machineReport(slotsUsed: number): Omit<Report, "peers"> {
  const totalBytes = totalmem();
  return { slotsUsed, load1: loadavg()[0] ?? 0, memory: { usedBytes: totalBytes - freemem(), totalBytes } };
}

/** The user's name, as far as the system knows it. Not by os.userInfo: that says "unknown" where USER is not set (Bun 1.4.5). */
export function userName(): string {
  const id = String(process.getuid?.() ?? "?");
  try {
    const entry = readFileSync("/etc/passwd", "utf8")
      .split("\n")
      .map((line) => line.split(":"))
      .find((fields) => fields[2] === id);
    return entry?.[0] ?? process.env.USER ?? id;
  } catch {
    return process.env.USER ?? id;
  }
}

/** Resolves with the first signal that asks this process to end. The end of a terminal is one, unless `hangup` is false. */
export function endSignal({ hangup = true }: { hangup?: boolean } = {}): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => resolve(signal));
  process.on("SIGHUP", () => hangup && resolve("SIGHUP"));
  return promise;
}
