// The log of a node itself, as far as it keeps one: read over the mesh, from wherever it lies.
import type { Status } from "../../core/coordinator/answers.ts";
import type { MeshClient } from "../../core/coordinator/client.ts";
import { MeshError } from "../../core/errors.ts";
import type { Source } from "../../core/files/files.ts";
import { RemoteFiles } from "../../core/files/remote-files.ts";
import { LineSplitter } from "../../core/worker/lines.ts";
import { brokenOutput, print, type Surroundings } from "../surroundings.ts";

export interface NodeLogRequest {
  /** The name of the node. */
  name: string;
  follow: boolean;
  json: boolean;
  /** Only the last so many lines of what is there. */
  tail?: number | undefined;
}

const PART_BYTES = 64 * 1024;
const FOLLOW_MS = 300;
const LF = 10;

/**
 * Prints what a node has logged. Throws USAGE for a head, whose log is its job's, UNREACHABLE for one that is down, STORAGE when it keeps
 * no log; following, LINK_CLOSED when it ends and CANCELLED when aborted.
 */
export async function printNodeLog(
  client: MeshClient,
  { nodes }: Status,
  request: NodeLogRequest,
  around: Surroundings,
  signal: AbortSignal,
): Promise<void> {
  const { name, follow, json, tail } = request;
  const { node, role, state, host, ...info } = nodes.find((each) => each.name === name)!;
  if (role === "head")
    throw new MeshError("USAGE", `${name} is a head: what its job prints is read by the job's number`);
  if (state === "down") throw new MeshError("UNREACHABLE", `${name} is down: its log is on ${host}`);
  if (role !== "coordinator") await client.meet([{ ...info, node, role, host }]);
  const files = new RemoteFiles({ node: client.node, of: node, name, signal });
  const source = await files.open({ root: "log" });
  const write = json ? jsonWriter(name, around) : (bytes: Uint8Array) => around.stdout(bytes);
  let offset = tail === undefined ? 0 : await startOfTail(source, tail);
  for (;;) {
    const bytes = await source.read(offset, PART_BYTES);
    offset += bytes.length;
    if (bytes.length > 0) {
      await write(bytes).catch((error: Error) => {
        throw brokenOutput(error);
      });
    } else if (follow) await pause(around, signal);
    else break;
  }
  await source.close();
}

/** Where the last so many lines begin. */
async function startOfTail(source: Source, lines: number): Promise<number> {
  let wanted = lines;
  let end = source.facts.sizeBytes;
  for (let last = true; end > 0; last = false) {
    const start = Math.max(0, end - PART_BYTES);
    const bytes = await source.read(start, end - start);
    // The newline at the very end begins no line.
    for (let at = bytes.length - (last ? 2 : 1); at >= 0; at--) {
      if (bytes[at] === LF && --wanted <= 0) return start + at + 1;
    }
    end = start;
  }
  return lines === 0 ? source.facts.sizeBytes : 0;
}

function jsonWriter(host: string, around: Surroundings): (bytes: Uint8Array) => Promise<void> {
  const splitter = new LineSplitter();
  return async (bytes) => {
    const lines = splitter.push(bytes).map((line) => JSON.stringify({ host, line: new TextDecoder().decode(line) }));
    if (lines.length > 0) await print(around, lines.join("\n"));
  };
}

async function pause({ clock }: Surroundings, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = clock.after(FOLLOW_MS, resolve);
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
  timer.cancel();
  if (signal.aborted) throw new MeshError("CANCELLED", "reading the log was cancelled", { cause: signal.reason });
}
