// Dialing over TCP.
import type { DialOptions, Link } from "../../core/transport.ts";
import { dialFirst } from "../dial-race.ts";
import type { Resolve } from "../resolve.ts";
import { parseTcpAddress, type TcpAddress } from "./address.ts";
import { Attempt } from "./attempt.ts";
import * as failures from "./dial-failures.ts";
import { DirectRoute } from "./direct-route.ts";
import type { DialingSide } from "./tls.ts";

/** Throws UNREACHABLE, AUTHENTICATION, TIMEOUT or CANCELLED. */
export async function dialTcp(
  address: string,
  side: DialingSide,
  resolve: Resolve,
  options: DialOptions,
): Promise<Link> {
  const attempt = (to: TcpAddress) => new Attempt(new DirectRoute(to), address, side);
  return await dialFirst(address, parseTcpAddress(address), { attempt, resolve, failures }, options);
}
