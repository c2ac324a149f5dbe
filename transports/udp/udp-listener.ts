// A UDP port that accepts links. Who dials is not asked for a certificate (quic.ts says why): its greeting tells, to the layer above.
// Here connections are counted until they have the streams of a link.
import type { Clock, Timer } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import { countedHost, unmapped } from "../../core/ip-address.ts";
import type { Link, Listener } from "../../core/transport.ts";
import { type AbortReason, type HandshakeLimits, Handshakes } from "../handshakes.ts";
import { formatIpAddress, type IpAddress } from "../ip-address.ts";
import { Door } from "./door.ts";
import { listenFailure } from "./failures.ts";
import type { ShownIdentity, UdpIdentity } from "./identity.ts";
import type { Connection, Endpoint } from "./quic.ts";
import { awaitLink } from "./streams.ts";

export interface ListenerSettings {
  identity: UdpIdentity;
  limits: HandshakeLimits;
  clock: Clock;
  onRefused: (error: MeshError) => void;
  accept: (link: Link) => void;
  /** Called once it is closed. */
  closed: () => Promise<void>;
}

/** How often renewed credentials are looked for. */
const RENEW_MS = 1_000;

export class UdpListener implements Listener {
  readonly address: string;
  /** Connections refused so far: over a limit, out of time, or without the streams of a link. */
  refused = 0;
  readonly #endpoint: Endpoint;
  readonly #settings: ListenerSettings;
  /** Not counted by address: before TLS has ended that is what anybody may have written on a packet, to keep others out. */
  readonly #nameless: Handshakes;
  readonly #named: Handshakes;
  readonly #door: Door;
  #shown: ShownIdentity;
  #renewal: Timer | undefined;
  #isClosed = false;

  private constructor(endpoint: Endpoint, shown: ShownIdentity, settings: ListenerSettings) {
    const { limits, clock } = settings;
    this.#endpoint = endpoint;
    this.#settings = settings;
    this.#shown = shown;
    this.address = "";
    this.#nameless = new Handshakes({ ...limits, perAddress: limits.total }, clock);
    this.#named = new Handshakes(limits, clock);
    this.#door = new Door((share) => endpoint.letIn(share));
  }

  /** Throws UNREACHABLE when the port cannot be had, AUTHENTICATION without a certificate. */
  static async start(endpoint: Endpoint, at: IpAddress, settings: ListenerSettings): Promise<UdpListener> {
    const address = formatIpAddress("udp", at);
    const shown = settings.identity.current()?.shown;
    if (!shown) throw new MeshError("AUTHENTICATION", `cannot listen on ${address} without a certificate: join first`);
    const listener = new UdpListener(endpoint, shown, settings);
    try {
      await endpoint.listen(shown, (connection) => listener.#incoming(connection), settings.limits.timeoutMs);
    } catch (error) {
      throw listenFailure(address, error);
    }
    Object.assign(listener, { address: formatIpAddress("udp", endpoint.address) });
    listener.#renewLater();
    return listener;
  }

  /** Connections that are not links yet. */
  get unfinished(): number {
    return this.#nameless.count + this.#named.count;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#renewal?.cancel();
    this.#endpoint.refuse();
    this.#nameless.clear();
    this.#named.clear();
    await this.#settings.closed();
  }

  // Nothing is proven here, not even an address.
  #incoming(connection: Connection): void {
    const place = this.#isClosed
      ? undefined
      : this.#nameless.begin("", (reason) => this.#abort(connection, "", reason));
    if (!place) {
      this.#refuse("LINK_CLOSED", "a connection was closed at once: too many are in TLS's handshake");
      connection.cut("too many at once");
      return;
    }
    this.#countNameless();
    this.#renew();
    void connection.opened
      .then(
        () => this.#nameless.end(place) && this.#opened(connection),
        () => {
          if (this.#nameless.end(place)) this.#refuse("LINK_CLOSED", "somebody went away before TLS had ended");
        },
      )
      .finally(() => this.#countNameless());
    this.#holdStreams(connection);
  }

  #countNameless(): void {
    this.#door.counted(this.#nameless.count);
  }

  /** Streams may come in the packet that ends the handshake. */
  #holdStreams(connection: Connection): void {
    const early: Parameters<Connection["onStream"]>[0][] = [];
    connection.onStream = (stream) => early.push(stream);
    void connection.opened.then(
      () => {
        for (const stream of early) connection.onStream(stream);
      },
      () => {},
    );
  }

  #opened(connection: Connection): void {
    const { host: ip, port } = connection.remote;
    const host = unmapped(ip);
    const label = formatIpAddress("udp", { host, port });
    const place = this.#named.begin(countedHost(host), (reason) => this.#abort(connection, label, reason));
    if (!place) {
      this.#refuse("LINK_CLOSED", `${label}: closed at once, too many of its connections are no links yet`);
      connection.cut("too many at once from this address");
      return;
    }
    const tls = {
      ownCertificate: connection.ownCertificate,
      peerCertificate: undefined,
      greetingDecides: true as const,
    };
    connection.onStream = awaitLink(connection, label, tls, (link) => {
      if (this.#named.end(place)) this.#settings.accept(link);
    });
    void connection.closed.then(() => {
      if (this.#named.end(place)) this.#refuse("LINK_CLOSED", `${label}: it went away before it was a link`);
    });
  }

  #abort(connection: Connection, label: string, reason: AbortReason): void {
    const who = label || "a connection";
    this.#countNameless();
    const { timeoutMs } = this.#settings.limits;
    if (reason === "timeout") this.#refuse("TIMEOUT", `${who}: it was no link within ${timeoutMs} ms`);
    else this.#refuse("LINK_CLOSED", `${who}: closed to make room for others`);
    connection.cut(reason === "timeout" ? `it took over ${timeoutMs} ms` : "others need its place");
  }

  #renewLater(): void {
    this.#renewal = this.#settings.clock.after(RENEW_MS, () => {
      this.#renew();
      this.#renewLater();
    });
  }

  #renew(): void {
    try {
      const shown = this.#settings.identity.current()?.shown;
      if (!shown || shown === this.#shown) return;
      this.#endpoint.show(shown);
      this.#shown = shown;
    } catch (error) {
      this.#refuse("AUTHENTICATION", `renewed credentials are left aside: ${(error as Error).message}`, error);
    }
  }

  #refuse(code: "AUTHENTICATION" | "TIMEOUT" | "LINK_CLOSED", message: string, cause?: unknown): void {
    this.refused++;
    this.#settings.onRefused(new MeshError(code, message, { cause }));
  }
}
