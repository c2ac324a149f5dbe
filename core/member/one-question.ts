// One question and one answer over a link, which ends with it: how processes of one user ask a daemon of theirs at its Unix socket.
// The reply is {[field]: the answer}, or {error}.
import { MeshError } from "../errors.ts";
import type { Link, Transport } from "../transport.ts";
import { Codec } from "../wire/codec.ts";

export interface AskOptions {
  field: string;
  timeoutMs: number;
  /** Who is asked, for errors: "the coordinator behind /run/…". */
  who: string;
  /** The time it has, as words: "5 s". */
  limitWords: string;
}

/** Asks at the socket `path`. Throws UNREACHABLE when nobody listens, LINK_CLOSED, TIMEOUT, and what is answered. */
export async function askOnce<Answer>(
  transport: Transport,
  path: string,
  question: unknown,
  { field, timeoutMs, who, limitWords }: AskOptions,
): Promise<Answer> {
  const link = await transport.dial(path, { timeoutMs });
  const codec = new Codec();
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const late = new MeshError("TIMEOUT", `${who} did not answer within ${limitWords}`);
  const timer = setTimeout(() => link.destroy(late), timeoutMs);
  link.attach({
    frame: (frame) => {
      const reply = codec.decode(frame) as Record<string, unknown>;
      if (reply[field]) resolve(reply[field] as Answer);
      else reject(reply.error);
    },
    drained: () => {},
    closed: (error) => reject(error ?? new MeshError("LINK_CLOSED", `${who} gave no answer`)),
  });
  link.send(codec.encode(question));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    link.close();
  }
}

/** Answers the one who asked, with what `answer` gives or throws, and ends the link. */
export async function answerOnce(
  link: Link,
  codec: Codec,
  field: string,
  answer: () => Promise<unknown>,
): Promise<void> {
  let reply: Record<string, unknown>;
  try {
    reply = { [field]: await answer() };
  } catch (error) {
    reply = { error };
  }
  link.send(codec.encode(reply));
  link.close();
}
