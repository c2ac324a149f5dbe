// The files of another node, by messages.
import { MeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import { MessageType } from "../wire/message-types.ts";
import { nodeAddress } from "../worker/control.ts";
import type { BegunThere, Opened } from "./bodies.ts";
import type { BeginOptions, Begun, FileFacts, Files, Look, Place, Source, Target } from "./files.ts";

export interface RemoteFilesOptions {
  node: Node;
  /** The node that has the files. */
  of: number;
  /** How people call it. */
  name: string;
  /** Gives up what is asked with CANCELLED. */
  signal?: AbortSignal | undefined;
}

/** What is asked throws LINK_CLOSED too, when the node is lost. */
export class RemoteFiles implements Files {
  readonly #options: RemoteFilesOptions;

  constructor(options: RemoteFilesOptions) {
    this.#options = options;
  }

  async look(place: Place, withEntries: boolean): Promise<Look> {
    return await this.#ask<Look>(MessageType.fileList, { place, withEntries });
  }

  async open(place: Place): Promise<Source> {
    const { file, facts } = await this.#ask<Opened>(MessageType.fileOpen, { place });
    return {
      facts,
      read: (offset, sizeBytes) => this.#ask<Uint8Array>(MessageType.fileRead, { file, offset, sizeBytes }),
      hash: (sizeBytes) => this.#ask<string>(MessageType.fileHash, { file, sizeBytes }),
      close: () => this.#tell(MessageType.fileClose, { file }),
    };
  }

  async begin(place: Place, facts: FileFacts, options: BeginOptions): Promise<Begun> {
    const begun = await this.#ask<BegunThere>(MessageType.fileBegin, { place, facts, ...options });
    if (begun.state !== "write") return begun;
    const { file, path, offset, hash } = begun;
    const target: Target = {
      path,
      offset,
      hash,
      write: (at, bytes) => this.#ask(MessageType.fileWrite, { file, offset: at, bytes: asBuffer(bytes) }),
      finish: (whole) => this.#ask(MessageType.fileFinish, { file, hash: whole }),
      abandon: (keeps) => this.#tell(MessageType.fileAbandon, { file, keeps }),
    };
    return { state: "write", target };
  }

  async adjust(place: Place, { mtimeMs, mode }: Pick<FileFacts, "mtimeMs" | "mode">): Promise<void> {
    await this.#ask(MessageType.fileFolder, { place, facts: { mtimeMs, mode } });
  }

  async makeFolder(place: Place): Promise<void> {
    await this.#ask(MessageType.fileFolder, { place });
  }

  async delete(place: Place): Promise<boolean> {
    return await this.#ask<boolean>(MessageType.fileDelete, { place });
  }

  async #ask<Answer>(type: number, body: unknown): Promise<Answer> {
    const { node, of, name, signal } = this.#options;
    try {
      return (await node.request(nodeAddress(of), type, body, signal ? { signal } : {})) as Answer;
    } catch (cause) {
      if (!(cause instanceof MeshError) || cause.code === "CANCELLED") throw cause;
      const { message } = cause.code === "LINK_CLOSED" && cause.cause instanceof Error ? cause.cause : cause;
      const words = cause.code === "LINK_CLOSED" ? `${name} was lost: ${message}` : `${name}: ${message}`;
      throw new MeshError(cause.code, words, { cause });
    }
  }

  /** Also when all else was cancelled. */
  async #tell(type: number, body: unknown): Promise<void> {
    const { node, of } = this.#options;
    node.notify(nodeAddress(of), type, body);
  }
}

/** A Buffer travels as plain bytes. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
