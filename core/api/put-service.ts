// The references of one process: values it put, and those of others that it uses. Ties them to messages.
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import { isGone } from "./pipe-sender.ts";
import { type FetchParts, PutFile } from "./put-files.ts";

/** Which value, and who put it. */
export interface RefPlace {
  owner: Address;
  id: number;
  /** Bytes of it as it travels. */
  sizeBytes: number;
  /** Who put it, for messages: "here/0", "gpu1/2". */
  ownerName: string;
}

interface UseBody {
  id: number;
}

interface ReadBody {
  id: number;
  offset: number;
}

interface Put {
  bytes: Uint8Array;
  sentBytes: number;
  /** Processes that have a copy of it. */
  readers: Map<string, Address>;
}

/** A part of a value: large enough that the way there and back costs little, small enough to hold a few. */
const PART_BYTES = 4 * 1024 * 1024;
const PARTS_UNDER_WAY = 2;
/** The codec writes many small values into one piece of memory: a kept one would keep all of it. */
const SHARED_MEMORY_BYTES = 64 * 1024;

export class PutService {
  readonly #node: Node;
  readonly clock: Clock;
  readonly #name: string;
  readonly #folder: string | undefined;
  readonly #puts = new Map<number, Put>();
  /** Values that were decoded here, by reference. */
  readonly #values = new Map<string, Promise<unknown>>();
  #nextId = 1;

  /** `folder` is the job's on this host, for all its processes; without one each process fetches by itself. */
  constructor(node: Node, name: string, folder: string | undefined, clock: Clock) {
    this.#node = node;
    this.#name = name;
    this.#folder = folder;
    this.clock = clock;
    node.handleRequest(MessageType.refRead, (body: ReadBody, from) => this.#serve(body, from));
    node.handle(MessageType.refUse, ({ payload, fromNode, fromSlot }) => {
      const { id } = node.codec.decode(payload) as UseBody;
      this.#used(id, { node: fromNode, slot: fromSlot });
    });
    node.handle(MessageType.refReleased, ({ payload, fromNode, fromSlot }) => {
      const { id } = node.codec.decode(payload) as UseBody;
      const owner = { node: fromNode, slot: fromSlot };
      this.#values.delete(keyOf(owner, id));
      this.#file(owner, id)?.remove();
    });
  }

  /** Keeps a value's bytes for who asks. Throws CANNOT_TRAVEL naming the path. */
  put(value: unknown): RefPlace {
    const encoded = this.#node.codec.encode(value, "put: the value");
    const isPart = encoded.length < SHARED_MEMORY_BYTES && encoded.buffer.byteLength > encoded.length;
    const bytes = isPart ? encoded.slice() : encoded;
    const id = this.#nextId++;
    this.#puts.set(id, { bytes, sentBytes: 0, readers: new Map() });
    return { owner: this.#node.address, id, sizeBytes: bytes.length, ownerName: this.#name };
  }

  /** The value, the same object for all who ask in this process. Rejects with CLOSED or LINK_CLOSED. */
  value(place: RefPlace): Promise<unknown> {
    const key = keyOf(place.owner, place.id);
    const known = this.#values.get(key);
    if (known !== undefined) return known;
    const value = this.#load(place);
    this.#values.set(key, value);
    value.catch(() => this.#values.get(key) === value && this.#values.delete(key)); // the next one tries again
    return value;
  }

  /** In the owner: forgets the value, here and lazily everywhere. Elsewhere: forgets what was decoded here. */
  release({ owner, id }: RefPlace): void {
    this.#values.delete(keyOf(owner, id));
    const put = this.#isHere(owner) ? this.#puts.get(id) : undefined;
    if (!put) return;
    this.#puts.delete(id);
    this.#file(owner, id)?.remove();
    const body: UseBody = { id };
    for (const reader of put.readers.values()) this.#node.notify(reader, MessageType.refReleased, body);
  }

  /** Bytes this process has sent of a value it put. */
  sentBytes({ owner, id }: RefPlace): number {
    return (this.#isHere(owner) && this.#puts.get(id)?.sentBytes) || 0;
  }

  #isHere({ node, slot }: Address): boolean {
    return node === this.#node.address.node && slot === this.#node.address.slot;
  }

  #file({ node, slot }: Address, id: number): PutFile | undefined {
    return this.#folder === undefined
      ? undefined
      : new PutFile(join(this.#folder, `put-${node}-${slot}-${id}`), this.clock);
  }

  async #load(place: RefPlace): Promise<unknown> {
    return this.#node.codec.decode(this.#isHere(place.owner) ? this.#own(place) : await this.#bytes(place));
  }

  #own(place: RefPlace): Uint8Array {
    const put = this.#puts.get(place.id);
    if (!put) throw released(place.ownerName);
    return put.bytes;
  }

  async #bytes(place: RefPlace): Promise<Uint8Array> {
    const { owner, id, sizeBytes } = place;
    const use: UseBody = { id };
    this.#node.notify(owner, MessageType.refUse, use);
    const shared = await this.#file(owner, id)?.bytes((part) => this.#fetch(place, part));
    if (shared) return shared;
    const bytes = new Uint8Array(sizeBytes);
    await this.#fetch(place, async (offset, part) => bytes.set(part, offset));
    return bytes;
  }

  /** Asks the owner for all parts, a few at a time. */
  async #fetch(place: RefPlace, part: Parameters<FetchParts>[0]): Promise<void> {
    let next = 0;
    const lane = async () => {
      while (next < place.sizeBytes) {
        const offset = next;
        next += PART_BYTES;
        await part(offset, await this.#ask(place, offset));
      }
    };
    await Promise.all(Array.from({ length: PARTS_UNDER_WAY }, lane));
  }

  async #ask({ owner, id, ownerName }: RefPlace, offset: number): Promise<Uint8Array> {
    const body: ReadBody = { id, offset };
    try {
      return (await this.#node.request(owner, MessageType.refRead, body)) as Uint8Array;
    } catch (cause) {
      if (!isGone(cause)) throw cause;
      throw new MeshError(
        "LINK_CLOSED",
        `ref.get: the process that put the value, ${ownerName}, is gone, and the value with it`,
        { cause },
      );
    }
  }

  #serve({ id, offset }: ReadBody, from: Address): Buffer {
    const put = this.#puts.get(id);
    if (!put) throw released(this.#name);
    this.#used(id, from);
    const part = put.bytes.subarray(offset, offset + PART_BYTES);
    put.sentBytes += part.length;
    return Buffer.from(part.buffer, part.byteOffset, part.length);
  }

  #used(id: number, from: Address): void {
    const put = this.#puts.get(id);
    if (put) put.readers.set(keyOf(from, 0), from);
    else this.#node.notify(from, MessageType.refReleased, { id } satisfies UseBody);
  }
}

function keyOf({ node, slot }: Address, id: number): string {
  return `${node}/${slot}/${id}`;
}

function released(ownerName: string): MeshError {
  return new MeshError(
    "CLOSED",
    `ref.get: the value was released by ${ownerName}, which put it: release it when nobody uses it any more`,
  );
}
