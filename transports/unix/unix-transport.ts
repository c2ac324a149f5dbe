// Links over Unix sockets: between the processes of one machine. The socket is created with mode 0600.
// Must not know what the frames mean.
import { chmodSync, rmSync } from "node:fs";
import { MeshError } from "../../core/errors.ts";
import type { DialOptions, Link, Listener, Transport } from "../../core/transport.ts";
import { StreamLink, streamHandlers } from "../stream-link.ts";

/** sun_path of sockaddr_un on Linux, its ending zero included; a longer one is cut in silence by some systems. */
const PATH_LIMIT_BYTES = 107;
const DIAL_TIMEOUT_MS = 5_000;

export class UnixTransport implements Transport {
  readonly name = "unix";

  async listen(path: string, accept: (link: Link) => void): Promise<Listener> {
    checkPath(path);
    const umask = process.umask(0o177); // so that there is no moment in which others may connect
    try {
      const server = Bun.listen<StreamLink>({
        unix: path,
        socket: {
          ...streamHandlers,
          open(socket) {
            socket.data = new StreamLink(`unix:${path}`);
            socket.data.opened(socket);
            accept(socket.data);
          },
        },
      });
      server.unref();
      chmodSync(path, 0o600);
      return {
        address: path,
        close: async () => {
          server.stop(false);
          rmSync(path, { force: true });
        },
      };
    } catch (error) {
      throw new MeshError("UNREACHABLE", `cannot listen on ${path}: ${(error as Error).message}`, { cause: error });
    } finally {
      process.umask(umask);
    }
  }

  async dial(path: string, options: DialOptions = {}): Promise<Link> {
    checkPath(path);
    const { timeoutMs = DIAL_TIMEOUT_MS, signal } = options;
    if (signal?.aborted) throw new MeshError("CANCELLED", `dialing ${path} was cancelled`);
    const link = new StreamLink(`unix:${path}`);
    const connecting = Bun.connect<StreamLink>({
      unix: path,
      data: link,
      socket: { ...streamHandlers, connectError: () => {} },
    });
    const limit = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      limit.reject(new MeshError("TIMEOUT", `${path} did not answer within ${timeoutMs} ms`));
    }, timeoutMs);
    const cancel = () => limit.reject(new MeshError("CANCELLED", `dialing ${path} was cancelled`));
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      await Promise.race([connecting, limit.promise]);
      return link;
    } catch (error) {
      connecting.then(
        (socket) => socket.terminate(),
        () => {},
      );
      if (error instanceof MeshError) throw error;
      throw new MeshError("UNREACHABLE", `nothing listens on ${path}: ${(error as Error).message}`, { cause: error });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", cancel);
    }
  }
}

function checkPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= PATH_LIMIT_BYTES) return;
  throw new MeshError(
    "UNREACHABLE",
    `a Unix socket's path has at most ${PATH_LIMIT_BYTES} bytes, this one ${bytes}: ${path}`,
  );
}
