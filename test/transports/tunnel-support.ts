// A tunnel without SSH: a Unix socket whose streams are served as a tether does.
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { type Reach, serveStream } from "../../core/tether/serve-stream.ts";

/** Connects to whatever is asked for. */
export const reachAny: Reach = (address) => {
  const { hostname, port } = new URL(address.replace("tcp:", "http:"));
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ host: hostname.replace(/[[\]]/g, ""), port: Number(port), allowHalfOpen: true });
  socket.once("connect", () => resolve(socket)).once("error", reject);
  return promise;
};

export class FakeTunnel implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), "mesh-tunnel-"));
  readonly path = join(this.folder, "tunnel.sock");
  readonly streams = new Set<Socket>();
  served = 0;
  #server: Server | undefined;

  async listen(reach: Reach = reachAny): Promise<this> {
    const server = createServer({ allowHalfOpen: true }, (stream) => {
      this.streams.add(stream);
      void serveStream(stream, reach, systemClock).then(() => {
        this.streams.delete(stream);
        this.served++;
      });
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
    return this;
  }

  /** As when the tether is killed. */
  async close(): Promise<void> {
    for (const stream of this.streams) stream.destroy();
    await new Promise((resolve) => (this.#server ? this.#server.close(resolve) : resolve(undefined)));
    this.#server = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
