// Links as those of TcpTransport, which go by way of a tether: "ssh://10.0.0.1:7450" is what listens on tcp://10.0.0.1:7450 as the
// machine sees it that holds the SSH connection to this host. Nobody can be listened for that way.
import { MeshError } from "../../core/errors.ts";
import type { Credentials } from "../../core/identity/identity.ts";
import type { DialOptions, Link, Listener, Transport } from "../../core/transport.ts";
import { DIAL_TIMEOUT_MS } from "../dial-race.ts";
import { Attempt } from "./attempt.ts";
import { unreachable } from "./dial-failures.ts";
import { strangerSide, TlsSides } from "./tls.ts";
import { TunnelRoute } from "./tunnel-route.ts";

export interface TunnelOptions {
  /** As of TcpTransport. */
  credentials: () => Credentials | undefined;
  /** The tunnel's socket on this host. */
  path: string;
}

export class TunnelTransport implements Transport {
  readonly name = "ssh";
  readonly #path: string;
  readonly #sides: TlsSides;

  constructor({ credentials, path }: TunnelOptions) {
    this.#path = path;
    this.#sides = new TlsSides(credentials, false);
  }

  async listen(address: string): Promise<Listener> {
    throw new MeshError("UNREACHABLE", `cannot listen on ${address}: a tunnel carries connections one way only`);
  }

  /**
   * Waits for the tunnel while it is away. Throws UNREACHABLE, whose `cause.code` is "ECONNREFUSED" when nothing listens
   * there; AUTHENTICATION when what answers is not of this mesh; TIMEOUT or CANCELLED.
   */
  async dial(address: string, { timeoutMs = DIAL_TIMEOUT_MS, signal }: DialOptions = {}): Promise<Link> {
    const cancelled = () => new MeshError("CANCELLED", `dialing ${address} was cancelled`);
    if (signal?.aborted) throw cancelled();
    const route = new TunnelRoute(this.#path, address.replace(/^ssh:/, "tcp:"), address);
    const attempt = new Attempt(route, address, this.#sides.current() ?? strangerSide);
    const end = Promise.withResolvers<never>();
    const timer = setTimeout(() => end.reject(this.#late(address, timeoutMs)), timeoutMs);
    const cancel = () => end.reject(cancelled());
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await Promise.race([attempt.link, end.promise]);
    } catch (error) {
      attempt.abandon();
      throw error instanceof MeshError ? error : unreachable(address, [{ at: address, error }]);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", cancel);
    }
  }

  #late(address: string, timeoutMs: number): MeshError {
    return new MeshError(
      "TIMEOUT",
      `${address} was not reached within ${timeoutMs} ms through the tunnel ${this.#path}: is the machine on that \`mesh up\` was run awake and online? Else run it there again`,
    );
  }
}
