// Lets a node be asked about its files, and loads what answers with the first question.
import { systemClock } from "../clock.ts";
import type { Role } from "../identity/names.ts";
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { FileService } from "./file-service.ts";
import { homeFolder } from "./root.ts";

export interface FileHostOptions {
  node: Node;
  /** The folder of files for jobs; missing for a node that has none, whose log alone can be read. */
  root?: string;
  /** The largest file that is taken there, in bytes. */
  limitBytes?: number | undefined;
  /** Somebody asks for something. */
  asked?(from: Address): void;
}

type Answer = (service: FileService, body: unknown, from: Address) => unknown;

const ANSWERS: [type: number, answer: Answer][] = [
  [MessageType.fileList, (service, body, from) => service.list(body, from)],
  [MessageType.fileOpen, (service, body, from) => service.open(body, from)],
  [MessageType.fileRead, (service, body, from) => service.read(body, from)],
  [MessageType.fileHash, (service, body, from) => service.hash(body, from)],
  [MessageType.fileClose, (service, body, from) => service.close(body, from)],
  [MessageType.fileBegin, (service, body, from) => service.begin(body, from)],
  [MessageType.fileWrite, (service, body, from) => service.write(body, from)],
  [MessageType.fileFinish, (service, body, from) => service.finish(body, from)],
  [MessageType.fileAbandon, (service, body, from) => service.abandon(body, from)],
  [MessageType.fileDelete, (service, body, from) => service.delete(body, from)],
  [MessageType.fileFolder, (service, body, from) => service.folder(body, from)],
];

export class FileHost {
  readonly #options: FileHostOptions;
  #service: Promise<FileService> | undefined;

  constructor(options: FileHostOptions) {
    this.#options = options;
    for (const [type, answer] of ANSWERS) {
      options.node.handleRequest(type, async (body, from) => {
        options.asked?.(from);
        this.#service ??= this.#load();
        return await answer(await this.#service, body, from);
      });
    }
  }

  /** A process, or with slot 0 all of a node, is gone: its files are let go of. */
  gone(address: Address): void {
    void this.#service?.then((service) => service.gone(address));
  }

  async close(): Promise<void> {
    await (await this.#service)?.closeAll();
  }

  async #load(): Promise<FileService> {
    const [{ FileService }, { LocalFiles }] = await Promise.all([
      import("./file-service.ts"),
      import("./local-files.ts"),
    ]);
    const { node, root, limitBytes } = this.#options;
    return new FileService({
      files: new LocalFiles({ root: root ?? "", userFolder: homeFolder(), expandsHome: true, limitBytes }),
      hasLogAlone: root === undefined,
      clock: systemClock,
      roleOf: (other) => node.roleOf(other) as Role | undefined,
    });
  }
}
