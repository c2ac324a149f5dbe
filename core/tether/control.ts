// How `mesh up` and `mesh down` talk to the tether of a mesh: over a Unix socket in the mesh's state folder, one question and one
// answer.
import { MeshError } from "../errors.ts";
import { answerOnce, askOnce } from "../member/one-question.ts";
import type { Link, Listener, Transport } from "../transport.ts";
import { Codec } from "../wire/codec.ts";
import type { TetheredState } from "./tether.ts";

/** The socket's name in the state folder of a mesh. */
export const TETHER_SOCKET = "tether.sock";

const FIELD = "states";
const ASK_LIMIT_MS = 5_000;
const REQUEST_LIMIT_BYTES = 1024 * 1024;

/** Who gives an order. */
export interface TetherAsker {
  /** A tether of another build ends, and lets this one's take its place. */
  build: string;
  /** The socket of the asker's SSH agent: that of the tether's own start may be gone with its login. */
  agent: string | undefined;
}

/** Read the list of hosts again, and tell of these once they are up or a try has failed. */
export interface TetherOrder extends TetherAsker {
  tell: string[];
}

/** Answers orders at the socket `path` until the listener is closed; `answered` follows every answer. */
export function listenForOrders(
  transport: Transport,
  path: string,
  obey: (order: TetherOrder) => Promise<TetheredState[]>,
  answered: () => void,
): Promise<Listener> {
  const codec = new Codec();
  return transport.listen(path, (link) => {
    const late = () => link.destroy(new MeshError("TIMEOUT", `${link.label}: asked nothing`));
    const timer = setTimeout(late, ASK_LIMIT_MS);
    link.attach({
      frame: (frame) => {
        clearTimeout(timer);
        void answer(link, frame, codec, obey).finally(answered);
      },
      drained: () => {},
      closed: () => clearTimeout(timer),
    });
  });
}

async function answer(
  link: Link,
  frame: Uint8Array,
  codec: Codec,
  obey: (order: TetherOrder) => Promise<TetheredState[]>,
): Promise<void> {
  await answerOnce(link, codec, FIELD, async () => {
    if (frame.length > REQUEST_LIMIT_BYTES) throw new MeshError("PROTOCOL", "an order to the tether is too long");
    return await obey(codec.decode(frame) as TetherOrder);
  });
}

/** Throws UNREACHABLE when no tether listens there, LINK_CLOSED when it ended meanwhile, TIMEOUT, or what it answers. */
export async function orderTether(
  transport: Transport,
  path: string,
  order: TetherOrder,
  timeoutMs: number,
): Promise<TetheredState[]> {
  const options = { field: FIELD, timeoutMs, who: `the tether behind ${path}`, limitWords: `${timeoutMs / 1_000} s` };
  return await askOnce(transport, path, order, options);
}
