// Where a node listens: at all addresses that somebody asked for, and by default at others if they can be had.
import type { Log } from "../log.ts";
import type { Link, Listener, Transport } from "../transport.ts";

export interface Listening {
  /** Where to listen for other nodes. */
  listen: readonly string[];
  /** Where to listen as well, if that can be had: on any free port where the one given is taken. Nobody asked for it. */
  listenToo?: readonly string[];
}

export interface Listened {
  /** The address it was meant to be. */
  given: string;
  listener: Listener;
}

/**
 * Where to listen when nobody has said where: on the first of the transports, and on the others if that can be had.
 * `port` 0 stands for any free one.
 */
export function defaultListening(transports: readonly string[], port = 0): Required<Listening> {
  const [listen = [], ...others] = transports.map((name) => [`${name}://[::]:${port}`]);
  return { listen, listenToo: others.flat() };
}

/** Calls `made` for each; of `listenToo` those that cannot be had are told to the log. Throws UNREACHABLE for the others. */
export async function listenAll(
  { listen, listenToo = [] }: Listening,
  { transport, accept, log, made }: ListenOptions,
): Promise<void> {
  for (const given of listen) made({ given, listener: await transport.listen(given, accept) });
  for (const given of listenToo) {
    const listener = await listenIfFree(given, transport, accept, log);
    if (listener) made({ given, listener });
  }
}

export interface ListenOptions {
  transport: Transport;
  accept: (link: Link) => void;
  log: Log;
  made(listened: Listened): void;
}

/** The address of the first that listens by that scheme, if one does. */
export function listensBy(scheme: string, listening: readonly Listened[]): string | undefined {
  return listening.find(({ listener }) => listener.address.startsWith(`${scheme}://`))?.listener.address;
}

/** The same address with any free port. */
export function atAnyPort(address: string): string {
  return address.replace(/:\d+$/, ":0");
}

async function listenIfFree(
  given: string,
  transport: Transport,
  accept: (link: Link) => void,
  log: Log,
): Promise<Listener | undefined> {
  for (const address of new Set([given, atAnyPort(given)])) {
    try {
      return await transport.listen(address, accept);
    } catch (error) {
      log.warn("not listening there", { address, error: (error as Error).message });
    }
  }
  return undefined;
}
