// What a worker does for users beside jobs: commands and files. Loaded when somebody asks for it first.
import { FileHost } from "../files/file-host.ts";
import type { Log } from "../log.ts";
import type { Node, RequestHandler } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { Commands } from "./commands.ts";
import type { Nursery } from "./nursery.ts";

export interface HostServicesOptions {
  node: Node;
  nursery: Nursery;
  /** The run folder of the worker. */
  folder: string;
  log: Log;
  /** Of what jobs send. */
  files: { root: string; limitBytes?: number | undefined };
}

export class HostServices {
  readonly #options: HostServicesOptions;
  readonly #files: FileHost;
  #commands: Promise<Commands> | undefined;
  /** Nodes that asked for something and are still there. */
  readonly #askers = new Set<number>();

  constructor(options: HostServicesOptions) {
    this.#options = options;
    const { node, files } = options;
    this.#files = new FileHost({ node, ...files, asked: (from) => this.#asked(from) });
    const commands = (): Promise<Commands> => {
      this.#commands ??= this.#loadCommands();
      return this.#commands;
    };
    const on = (type: number, answer: (...of: Parameters<RequestHandler>) => unknown) =>
      node.handleRequest(type, (body, from) => {
        this.#asked(from);
        return answer(body, from);
      });
    on(MessageType.exec, async (body, from) => await (await commands()).run(body, from));
    on(MessageType.execInput, async (body, from) => await (await commands()).input(body, from));
    on(MessageType.execStop, async (body, from) => (await commands()).stop(body, from));
  }

  /** Whether somebody is there who may go on with what was begun. */
  get isUsed(): boolean {
    return this.#askers.size > 0;
  }

  /** A process, or with slot 0 all of a node, is gone: what it asked for ends. */
  askerLost(address: Address): void {
    this.#files.gone(address);
    if (address.slot !== 0) return;
    this.#askers.delete(address.node);
    void this.#commands?.then((commands) => commands.askerLost(address.node));
  }

  async close(): Promise<void> {
    await Promise.all([this.#files.close(), this.#commands?.then((commands) => commands.closeAll())]);
  }

  /** Tasks are told of by their job. */
  #asked({ node }: Address): void {
    const role = this.#options.node.roleOf(node);
    if (role === "client" || role === "head") this.#askers.add(node);
  }

  async #loadCommands(): Promise<Commands> {
    const { Commands } = await import("./commands.ts");
    return new Commands(this.#options);
  }
}
