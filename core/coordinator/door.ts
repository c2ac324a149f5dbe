// Where everything comes in that other nodes send a coordinator or a rendezvous: who sends it is known from the session, what
// it may send from the table of roles, and its bytes are bounded and checked before anything is built from them.
import type * as z from "zod";
import { MeshError } from "../errors.ts";
import type { Role } from "../identity/names.ts";
import type { Node } from "../node/node.ts";
import { checkBody } from "../wire/body-checks.ts";
import { type Address, FLAG_REQUEST, type Message } from "../wire/message.ts";
import { MessageType, messageTypeName } from "../wire/message-types.ts";
import { maySend } from "../wire/permissions.ts";
import { sizeLimitOf } from "../wire/size-limits.ts";

/** What a door needs of a node. */
export type DoorNode = Pick<Node, "codec" | "handle" | "send" | "notify">;
/** What the coordinator needs of a node. */
export type CoordinatorNode = DoorNode & Pick<Node, "address" | "request">;

/** A node with a session, as its certificate tells. */
export interface Peer {
  node: number;
  name: string;
  role: Role;
}

/** Who sends a message: the peer, and which process of it. */
export interface Asker extends Peer {
  from: Address;
}

/** Users type these: what is wrong in them is the user's, not the protocol's. */
const isCommand = (type: number) =>
  type === MessageType.submitJob || (type >= MessageType.status && type <= MessageType.stopLogs);

export class Door {
  readonly #node: DoorNode;
  readonly #role: Role;
  readonly #peers: Pick<ReadonlyMap<number, Peer>, "get">;
  readonly #onProblem: (error: unknown) => void;

  /** The door of a node of `role`. `onProblem` gets what went wrong when nobody waits for an answer. */
  constructor(
    node: DoorNode,
    role: Role,
    peers: Pick<ReadonlyMap<number, Peer>, "get">,
    onProblem: (error: unknown) => void,
  ) {
    this.#node = node;
    this.#role = role;
    this.#peers = peers;
    this.#onProblem = onProblem;
  }

  /** Calls `handler` with checked bodies; what it returns or throws is the answer, if one is waited for. */
  on<Schema extends z.ZodType>(
    type: number,
    schema: Schema,
    handler: (body: z.infer<Schema>, asker: Asker) => unknown,
  ): void {
    this.#node.handle(type, (message) => {
      const from = { node: message.fromNode, slot: message.fromSlot };
      const { correlation } = message;
      const isRequest = (message.flags & FLAG_REQUEST) !== 0;
      // The body is read now, because the message is only valid during this call.
      const asked = attempt(() => ({ asker: this.#admit(type, from), body: this.#read(message, schema) }));
      void this.#answer(from, isRequest ? correlation : undefined, async () => {
        if ("error" in asked) throw asked.error;
        return await handler(asked.value.body, asked.value.asker);
      });
    });
  }

  #admit(type: number, from: Address): Asker {
    const peer = this.#peers.get(from.node);
    if (!peer) throw new MeshError("AUTHENTICATION", `node ${from.node} has no session here`);
    const { node, name, role } = peer; // a spread would leave out a session's: they are getters
    if (maySend(role, type, this.#role)) return { node, name, role, from };
    const what = messageTypeName(type);
    throw new MeshError("AUTHENTICATION", `${name} may not send ${what}: its role is ${role}`);
  }

  #read<Schema extends z.ZodType>({ type, payload }: Message, schema: Schema): z.infer<Schema> {
    const code = isCommand(type) ? "USAGE" : "PROTOCOL";
    const limit = sizeLimitOf(this.#role, type);
    const what = messageTypeName(type);
    if (payload.length > limit) {
      throw new MeshError("FRAME_TOO_LARGE", `${what} has ${payload.length} bytes, and may have ${limit}`);
    }
    return checkBody(schema, what, this.#node.codec.decodeControl(payload), code);
  }

  async #answer(to: Address, correlation: number | undefined, compute: () => Promise<unknown>): Promise<void> {
    try {
      const value = await compute();
      if (correlation !== undefined) this.#reply(to, MessageType.reply, correlation, value);
    } catch (error) {
      if (correlation !== undefined) this.#reply(to, MessageType.failure, correlation, error);
      else this.#onProblem(error);
    }
  }

  #reply(to: Address, type: number, correlation: number, value: unknown): void {
    this.#node.send(to, type, 0, correlation, this.#node.codec.encode(value, "the answer"));
  }
}

function attempt<T>(compute: () => T): { value: T } | { error: unknown } {
  try {
    return { value: compute() };
  } catch (error) {
    return { error };
  }
}
