// One command on a host from its start to its end, over any way to open one.
import { systemClock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { CommandResult, Conversation, RunOptions, Shell } from "./shell.ts";

const OUTPUT_LIMIT_BYTES = 1 << 20;
const TIMEOUT_MS = 30_000;

/** Runs `command` as Shell.run says it. Throws TIMEOUT, CANCELLED, PROTOCOL (too much output), and what `open` throws. */
export async function runCommand(
  shell: Pick<Shell, "label" | "open">,
  command: string,
  options: RunOptions = {},
): Promise<CommandResult> {
  const what = `"${command.length > 60 ? `${command.slice(0, 60)}…` : command}" on ${shell.label}`;
  const stop = new AbortController();
  const limitMs = options.timeoutMs ?? TIMEOUT_MS;
  const timer = systemClock.after(limitMs, () => stop.abort(tooLong(what, limitMs)));
  const cancel = () => stop.abort(new MeshError("CANCELLED", `${what} was given up`));
  options.signal?.addEventListener("abort", cancel);
  if (options.signal?.aborted) cancel();
  try {
    stop.signal.throwIfAborted();
    return await talk(await shell.open(command, { signal: stop.signal }), what, options, stop.signal);
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error;
  } finally {
    timer.cancel();
    options.signal?.removeEventListener("abort", cancel);
  }
}

async function talk(
  conversation: Conversation,
  what: string,
  options: RunOptions,
  signal: AbortSignal,
): Promise<CommandResult> {
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    if (signal.aborted) reject(signal.reason);
  });
  try {
    const limit = options.outputLimitBytes ?? OUTPUT_LIMIT_BYTES;
    const work = Promise.all([collect(conversation, limit, what), feed(conversation, options.input)]);
    const [stdout] = await Promise.race([work, stopped]);
    const end = await Promise.race([conversation.ended, stopped]);
    return { ...end, stdout, stderr: conversation.stderr };
  } catch (error) {
    conversation.kill();
    throw error;
  }
}

async function collect(conversation: Conversation, limitBytes: number, what: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of conversation.stdout) {
    size += chunk.length;
    if (size > limitBytes)
      throw new MeshError("PROTOCOL", `${what} printed more than ${limitBytes} bytes and was ended`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** A command that ends without reading all is no error here: its status says what it thought of that. */
async function feed(conversation: Conversation, input: RunOptions["input"]): Promise<void> {
  const chunks = input instanceof Uint8Array ? [input] : (input ?? []);
  for await (const chunk of chunks) {
    const isTaken = await conversation.write(chunk).then(
      () => true,
      () => false,
    );
    if (!isTaken) return;
  }
  conversation.end();
}

function tooLong(what: string, limitMs: number): MeshError {
  return new MeshError("TIMEOUT", `${what} took longer than ${limitMs / 1000} s and was ended`);
}
