// What an ssh-agent holds (draft-ietf-sshm-ssh-agent, section 3.5). ssh2 asks agents too, but waits for ever and keeps silent
// about keys that it cannot use.
import { connect } from "node:net";

const REQUEST_IDENTITIES = Buffer.from([0, 0, 0, 1, 11]);
const IDENTITIES_ANSWER = 12;
/** No agent's answer is longer. */
const ANSWER_LIMIT_BYTES = 1 << 20;
const TIMEOUT_MS = 3_000;

export interface AgentKey {
  /** The public key as it goes over the wire. */
  blob: Buffer;
  comment: string;
}

/** The keys of the agent at `socketPath`. Rejects with a plain Error that says why there is no answer. */
export function listAgentKeys(socketPath: string): Promise<AgentKey[]> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    let received = Buffer.alloc(0);
    const end = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => end(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
    socket.on("connect", () => socket.write(REQUEST_IDENTITIES));
    socket.on("error", end);
    socket.on("close", () => end(new Error("it hung up")));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 4) return;
      const size = received.readUInt32BE(0);
      if (size > ANSWER_LIMIT_BYTES) return end(new Error("its answer is too long"));
      if (received.length < 4 + size) return;
      resolve(parseIdentities(received.subarray(4, 4 + size)));
      end(new Error("answered"));
    });
  });
}

/** Of a message without its length; a cut one yields the keys before the cut, any other message none. */
export function parseIdentities(message: Buffer): AgentKey[] {
  const keys: AgentKey[] = [];
  if (message[0] !== IDENTITIES_ANSWER || message.length < 5) return keys;
  let at = 5;
  const next = (): Buffer | undefined => {
    if (at + 4 > message.length) return undefined;
    const from = at + 4;
    const to = from + message.readUInt32BE(at);
    if (to > message.length) return undefined;
    at = to;
    return message.subarray(from, to);
  };
  for (let left = message.readUInt32BE(1); left > 0; left--) {
    const blob = next();
    const comment = next();
    if (!blob || !comment) break;
    keys.push({ blob, comment: comment.toString() });
  }
  return keys;
}
