// Links as those of TcpTransport, which go by way of a relay that sees ciphertext only; relay-address.ts says what addresses mean.
import { MeshError } from "../../core/errors.ts";
import type { Credentials } from "../../core/identity/identity.ts";
import type { DialOptions, Link, Listener, Transport } from "../../core/transport.ts";
import { dialFirst } from "../dial-race.ts";
import { systemResolve } from "../resolve.ts";
import type { TcpAddress } from "./address.ts";
import { Attempt } from "./attempt.ts";
import * as failures from "./dial-failures.ts";
import { parseRelayPlace, withoutToken } from "./relay-address.ts";
import { RelayRoute } from "./relay-route.ts";
import { strangerSide, TlsSides } from "./tls.ts";

export class RelayTransport implements Transport {
  readonly name = "tcprelay";
  readonly #sides: TlsSides;

  /** As of TcpTransport. */
  constructor({ credentials }: { credentials: () => Credentials | undefined }) {
    this.#sides = new TlsSides(credentials, false);
  }

  async listen(address: string): Promise<Listener> {
    const shown = withoutToken(address);
    throw new MeshError(
      "UNREACHABLE",
      `cannot listen on ${shown}: a relay brings its connections to an ordinary listener`,
    );
  }

  /** Throws UNREACHABLE, AUTHENTICATION when who answers is not of this mesh, TIMEOUT also when nobody is at the other place, or CANCELLED. */
  async dial(address: string, options: DialOptions = {}): Promise<Link> {
    const { to, token } = parseRelayPlace(address);
    const label = withoutToken(address);
    const side = this.#sides.current() ?? strangerSide;
    const attempt = (relay: TcpAddress) => new Attempt(new RelayRoute(relay, token), label, side);
    return await dialFirst(label, to, { attempt, resolve: systemResolve, failures }, options);
  }
}
