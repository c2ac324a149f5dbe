// What a worker does for users beside jobs: commands and files. Loaded when somebody asks for it first.
import type { Log } from "../log.ts";
import type { Node, RequestHandler } from "../node/node.ts";
import { MessageType } from "../wire/message-types.ts";
import type { Commands } from "./commands.ts";
import type { Nursery } from "./nursery.ts";

export interface HostServicesOptions {
  node: Node;
  nursery: Nursery;
  /** The run folder of the worker. */
  folder: string;
  log: Log;
}

export class HostServices {
  readonly #options: HostServicesOptions;
  #commands: Promise<Commands> | undefined;
  /** Nodes that asked for something and are still there. */
  readonly #askers = new Set<number>();

  constructor(options: HostServicesOptions) {
    this.#options = options;
    const { node } = options;
    const commands = (): Promise<Commands> => {
      this.#commands ??= this.#loadCommands();
      return this.#commands;
    };
    const on = (type: number, answer: (...of: Parameters<RequestHandler>) => unknown) =>
      node.handleRequest(type, (body, from) => {
        this.#askers.add(from.node);
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

  /** A node is gone: what it asked for ends. */
  askerLost(node: number): void {
    this.#askers.delete(node);
    void this.#commands?.then((commands) => commands.askerLost(node));
  }

  async close(): Promise<void> {
    await (await this.#commands)?.closeAll();
  }

  async #loadCommands(): Promise<Commands> {
    const { Commands } = await import("./commands.ts");
    return new Commands(this.#options);
  }
}
