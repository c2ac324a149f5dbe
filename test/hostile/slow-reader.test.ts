// A process that stands still while much is sent to it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../../core/session/session.ts";
import { TestCa } from "../support/certificates.ts";
import { kill, peakBytes } from "../support/mesh.ts";
import { until } from "../support/until.ts";

const MIB = 1024 * 1024;
const TOTAL_BYTES = Number(process.env.MESH_STREAM_MIB ?? 256) * MIB;
/** 64 MiB (X15), and what a session may keep for its peer. */
const ALLOWED_BYTES = 64 * MIB + DEFAULT_LIMITS.limitBytes;

/** A process of stream-end.ts. */
class End implements AsyncDisposable {
  readonly lines: Record<string, unknown>[] = [];
  readonly pid: number;
  readonly #child: Bun.Subprocess;
  #before = 0;

  constructor(options: object) {
    const child = Bun.spawn([process.execPath, join(import.meta.dirname, "stream-end.ts")], {
      env: { ...process.env, STREAM_END: JSON.stringify(options) },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = child;
    this.pid = child.pid;
    void this.#read(child.stdout);
  }

  /** The last value it said of that kind. */
  last<T>(key: string): T | undefined {
    return this.lines.findLast((line) => key in line)?.[key] as T | undefined;
  }

  /** Counts the memory it needs from here on. */
  watch(): void {
    const status = readFileSync(`/proc/${this.pid}/status`, "latin1");
    this.#before = 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  }

  get costBytes(): number {
    return peakBytes(this.pid) - this.#before;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    kill(this.pid, "SIGKILL");
    await this.#child.exited;
  }

  async #read(stdout: ReadableStream<Uint8Array>): Promise<void> {
    let text = "";
    for await (const chunk of stdout) {
      text += new TextDecoder().decode(chunk);
      const lines = text.split("\n");
      text = lines.pop()!;
      this.lines.push(...lines.map((line) => JSON.parse(line)));
    }
  }
}

test.each([
  ["main", "tcp"],
  ["bulk", "tcp"],
  ["main", "udp"],
  ["bulk", "udp"],
])(
  "X15 the reader stands still again and again while %s over %s carries much: neither side needs memory for it, all arrives",
  { timeout: 120_000 },
  async (lane, way) => {
    const ca = await TestCa.make();
    await using receiver = new End({ role: "receiver", credentials: await ca.issue("reader"), lane, way });
    await until(() => receiver.last("address") !== undefined, { what: "the receiver's address" });
    const address = receiver.last<string>("address");
    receiver.watch();
    await using sender = new End({
      role: "sender",
      credentials: await ca.issue("writer"),
      address,
      bytes: TOTAL_BYTES,
      lane,
      way,
    });
    for (const part of [0.1, 0.4, 0.7]) {
      await until(() => (receiver.last<number>("received") ?? 0) >= part * TOTAL_BYTES, {
        what: "more of it to arrive",
        timeoutMs: 60_000,
      });
      if (part === 0.1) sender.watch();
      kill(receiver.pid, "SIGSTOP");
      const received = receiver.last<number>("received")!;
      await until(() => (sender.last<number>("full") ?? 0) > received, { what: "the sender to be asked to wait" });
      expect(sender.last<number>("full")! - received).toBeLessThan(ALLOWED_BYTES);
      kill(receiver.pid, "SIGCONT");
    }
    await until(() => sender.last("done") === true, { what: "the end", timeoutMs: 60_000 });
    expect(receiver.last("received")).toBe(TOTAL_BYTES);
    expect(receiver.last("wrong")).toBeUndefined();
    console.log(
      `X15 ${lane}, ${way}: sender ${(sender.costBytes / MIB).toFixed(1)} MiB, receiver ${(receiver.costBytes / MIB).toFixed(1)} MiB for ${TOTAL_BYTES / MIB} MiB`,
    );
    expect(sender.costBytes).toBeLessThan(ALLOWED_BYTES);
    expect(receiver.costBytes).toBeLessThan(ALLOWED_BYTES);
  },
);
