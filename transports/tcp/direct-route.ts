// The plain route: a connection to one IP address.
import { formatTcpAddress, type TcpAddress } from "./address.ts";
import type { Route } from "./attempt.ts";
import { canConnectBySystem, closeDescriptor } from "./libc.ts";
import { SystemConnection } from "./system-connect.ts";
import type { TlsOptions } from "./tls.ts";

export class DirectRoute implements Route {
  readonly at: string;
  readonly #target: TcpAddress;
  #connection: SystemConnection | undefined;
  #isCancelled = false;

  constructor(target: TcpAddress) {
    this.at = formatTcpAddress(target);
    this.#target = target;
  }

  async open<Data>(opening: Bun.SocketOptions<Data> & { tls?: TlsOptions }): Promise<void> {
    const { host, port } = this.#target;
    if (!canConnectBySystem()) {
      await Bun.connect<Data>({ ...opening, hostname: host, port }).catch(neverRefused);
      return;
    }
    this.#connection = new SystemConnection(this.#target);
    const fd = await this.#connection.descriptor;
    if (this.#isCancelled) return closeDescriptor(fd);
    const options: Bun.FdSocketOptions<Data> = { ...opening, fd };
    // Bun's types have these options and forget them in the signature.
    await Bun.connect(options as unknown as Bun.UnixSocketOptions<Data>).catch((error) => {
      closeDescriptor(fd); // Bun fails before it takes it, on credentials that cannot be read
      throw error;
    });
  }

  cancel(): void {
    this.#isCancelled = true;
    this.#connection?.cancel();
  }
}

/** See system-connect.ts: to Bun, everything is a refusal. */
function neverRefused(error: Error): never {
  throw Object.assign(new Error(error.message, { cause: error }), { code: "ENOTCONN" });
}
