// How a node is connected: where it listens, its sessions, the meetings that find ways for them, and what it tells of its paths.
import type { Log } from "../log.ts";
import { Meetings, type MeetingsOptions } from "../meeting/meetings.ts";
import type { Peers } from "../session/peers.ts";
import type { Link, MeshTransport } from "../transport.ts";
import { advertisedAddresses } from "./addresses.ts";
import { atAnyPort, type Listened, type Listening, listenAll, listensBy } from "./listening.ts";
import { PathReporter } from "./path-reporter.ts";
import { type SessionsOptions, sessionsOf } from "./sessions.ts";

export interface ConnectionsOptions
  extends Omit<SessionsOptions, "addresses" | "introduce" | "pathChanged">,
    Pick<MeetingsOptions, "known">,
    Listening {
  transport: MeshTransport;
  /** What to tell others instead of what is found. */
  advertise?: readonly string[];
  log: Log;
  /** Asks the coordinator that a node dials this one, which cannot dial it. */
  introduce?(node: number): void;
  /** Begins a session with that node, if it is in the mesh. Default: none is begun. */
  dial?(node: number): void;
}

export class Connections {
  readonly peers: Peers;
  readonly meetings: Meetings;
  readonly paths: PathReporter;
  readonly #options: ConnectionsOptions;
  readonly #accept = (link: Link) => this.peers.accept(link);
  #listening: Listened[] = [];

  /** Listens from `listen` on. */
  constructor(options: ConnectionsOptions) {
    const { clock } = options;
    this.#options = options;
    this.peers = sessionsOf({
      ...options,
      addresses: () => this.addresses,
      introduce: ({ node }) => {
        options.introduce?.(node);
        this.meetings.seek(node);
      },
      pathChanged: (session) => this.meetings.pathChanged(session),
    });
    const listener = (scheme: string) => listensBy(scheme, this.#listening);
    this.meetings = new Meetings({ ...options, peers: this.peers, listener });
    const dial = (node: number) => options.dial?.(node);
    this.paths = new PathReporter({ peers: this.peers, meetings: this.meetings, clock, dial });
  }

  /** Where this node listens, as others are told. */
  get addresses(): string[] {
    const listening = this.#listening.map(({ listener }) => listener.address);
    return advertisedAddresses(listening, this.#options.advertise);
  }

  /** Throws UNREACHABLE for an address that somebody asked for and that cannot be had. */
  async listen(): Promise<void> {
    const made = (listened: Listened) => void this.#listening.push(listened);
    await listenAll(this.#options, { ...this.#options, accept: this.#accept, made });
  }

  /** Leaves ports that were chosen on purpose to whoever comes next, and listens on others. */
  async leavePorts(): Promise<void> {
    const moved = await Promise.all(this.#listening.map((listened) => this.#moved(listened)));
    this.#listening = moved.filter((listened) => listened !== undefined);
  }

  /** Says goodbye to all peers, and stops listening. */
  async close(): Promise<void> {
    await this.meetings.close();
    await Promise.all(this.#listening.map(({ listener }) => listener.close()));
    await this.peers.close();
  }

  async #moved({ given, listener }: Listened): Promise<Listened | undefined> {
    const anyPort = atAnyPort(given);
    if (anyPort === given) return { given, listener };
    const { transport, log } = this.#options;
    const next = await transport.listen(anyPort, this.#accept).catch((error) => {
      log.warn("not listening any more", { address: given, error: (error as Error).message });
      return undefined;
    });
    await listener.close();
    return next && { given: anyPort, listener: next };
  }
}
