// A host without SSH: its channel listens on a Unix socket of this machine, as sshd does on the host's.
import { createServer, connect as dial, type Server } from "node:net";
import type { Duplex } from "node:stream";
import type { HostChannel } from "../../core/tether/host-tether.ts";

export class FakeChannel implements HostChannel {
  readonly closed: Promise<Error | undefined>;
  readonly commands: string[] = [];
  isDisposed = false;
  readonly #end = Promise.withResolvers<Error | undefined>();
  readonly #streams = new Set<Duplex>();
  #server: Server | undefined;

  constructor() {
    this.closed = this.#end.promise;
  }

  async run(_command: string, { input }: { input: Uint8Array }): Promise<{ status: number }> {
    const script = new TextDecoder().decode(input);
    this.commands.push(script);
    const { exitCode } = Bun.spawnSync(["sh", "-s"], { stdin: input });
    return { status: exitCode };
  }

  async forwardInUnix(path: string, onConnection: (stream: Duplex) => void): Promise<AsyncDisposable> {
    const server = createServer({ allowHalfOpen: true }, (stream) => {
      this.#streams.add(stream);
      onConnection(stream);
    });
    this.#server = server;
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve));
    return { [Symbol.asyncDispose]: async () => void server.close() };
  }

  async forwardOut({ host, port }: { host: string; port: number }): Promise<Duplex> {
    return dial({ host, port });
  }

  /** As when the network breaks. */
  break(): void {
    for (const stream of this.#streams) stream.destroy();
    this.#server?.close();
    this.#end.resolve(new Error("broken by the test"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.isDisposed = true;
    this.break();
  }
}
