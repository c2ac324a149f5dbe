// QUIC as Bun's node:quic has it, and the only file that touches it: every sharp edge of that young API is covered here, and
// test/transports/udp-runtime.test.ts notices when the runtime changes. What its users need not know:
//
// - Before the handshake has ended, an address is what somebody wrote on a packet, and nothing is proven.
// - A rejected promise that nobody waits for, or a session without `onerror`, ends the process, and a throw in a callback ends the
//   endpoint: so all of them are caught, first thing.
// - `listen` on a taken port does not throw: the endpoint is closed afterwards.
// - Strict verification that refuses says nothing of why.
// - Tickets and early data are on by default. A ticket lets somebody in without a certificate.
// - On the server's side a certificate of the client is not to be relied on (what it shows may be any that the client appended), and after
//   `setSNIContexts`, which renewal needs, none is asked for at all. So none ever is: who dialed, its signed greeting tells.
// - `closed` of a peer that fell silent resolves as if it had ended on purpose; a stream that ended may have been cut.
// - An endpoint that is closed right after its last connection holds back what that one said.
// - Nothing reaches the peer when an endpoint is closed or the process exits, only what `session.close` and `destroy` with a code say.
// - A stream that is not read takes memory without bound. See flow.ts.
// - What ICMP says of one packet stops all sending of an endpoint for a second. See port-options.ts.
// - Without a `ca` each port and connection has a copy of all public CAs.
// - A connection that is destroyed before its handshake has ended is sent on, and kept; nothing says no to one that begins. See door.ts.
// - There is no `unref`: an endpoint that listens, or has sessions, keeps the process.
// - An IPv4 address dialed from "[::]" has to be written as one of IPv6.
import { isIP } from "node:net";
import type { QuicEndpoint, QuicSession, QuicStream, SessionOptions } from "node:quic";
import { hostAndPort, unmapped } from "../../core/ip-address.ts";
import type { IpAddress } from "../ip-address.ts";
import type { ShownIdentity, Trust } from "./identity.ts";
import { admit, deafenToIcmp } from "./port-options.ts";

/** Names the protocol on the streams; another number when that changes. */
const PROTOCOL = "mesh/1";
/** Connections that say nothing are kept up by pings; those whose peer is gone end after this. Seconds. */
const IDLE_TIMEOUT_S = 30;
/** Routers forget a quiet UDP flow after 30 s or more (RFC 4787 asks for 120): two of three pings may be lost. Milliseconds. */
const KEEP_ALIVE_MS = 9_000;
/** What a stream takes at once; more makes Bun slower. */
const HIGH_WATER_BYTES = 128 * 1024;
/** A window for 80 MB/s over 100 ms. Sessions above have their own credit. */
const STREAM_WINDOW_BYTES = 8 * 1024 * 1024;
/** A link is two streams; see flow.ts. */
const STREAMS_PER_LINK = 2;

/** An endpoint that is closed at once keeps back for a second what its connections said at their end. */
const LAST_WORDS_MS = 20;

/** An endpoint may never say that it is closed, when this process stood still while connections of it ended. */
const STUCK_MS = 300;

const CODE_DONE = 0;
const CODE_CUT = 1;

/** Linux numbers, which is all that the runtime tells. */
const ERRNO: Record<string, string> = { "13": "EACCES", "98": "EADDRINUSE", "99": "EADDRNOTAVAIL" };

type Quic = typeof import("node:quic");
let loaded: Quic | undefined;

/** Loads it without the warning that it is experimental, which is for us and not for users. */
function quic(): Quic {
  if (loaded) return loaded;
  const warn = process.emitWarning;
  process.emitWarning = () => {};
  try {
    loaded = process.getBuiltinModule("node:quic") as Quic;
  } finally {
    process.emitWarning = warn;
  }
  return loaded;
}

/** How a connection ended. */
export interface ConnectionEnd {
  /** Somebody ended it on purpose, having said all. Also a peer that fell silent: what came tells the difference. */
  isClean: boolean;
  /** What the peer or the runtime said. */
  reason: string;
  /** Of the transport, RFC 9000 section 20.1; from 0x100 a TLS alert. Undefined when it was none. */
  transportCode: number | undefined;
}

/** A UDP port with all its connections, dialed and accepted. */
export class Endpoint {
  readonly #endpoint: QuicEndpoint;
  readonly #connections = new Set<Connection>();
  readonly #at: IpAddress;
  #hasSpoken = false;
  #isRefusing = false;
  #isClosing = false;
  #isSettled = false;
  #connecting = 0;

  /** The port is bound by the first `listen` or `connect`. */
  constructor(at: IpAddress) {
    const { QuicEndpoint: Make } = quic();
    this.#at = at;
    this.#endpoint = new Make({ address: literal(at) });
    this.#endpoint.closed.catch(() => {});
  }

  /** The address it is bound to, its port known once it is. */
  get address(): IpAddress {
    return { host: this.#at.host, port: this.#endpoint.address?.port ?? this.#at.port };
  }

  get connections(): ReadonlySet<Connection> {
    return this.#connections;
  }

  /** Without connections, also without such as are about to begin. */
  get isIdle(): boolean {
    return this.#connections.size + this.#connecting === 0;
  }

  /** Whether it can dial. */
  get isUsable(): boolean {
    return !this.#isRefusing && !this.#isClosing && !this.#endpoint.destroyed;
  }

  /**
   * `incoming` is called before anything of the connection is proven; it lives for `handshakeMs`, up to 16,000, until TLS has ended, also
   * when it is cut. Rejects with what the system said, `code` in it.
   */
  async listen(
    identity: ShownIdentity,
    incoming: (connection: Connection) => void,
    handshakeMs = 5_000,
  ): Promise<void> {
    const tls = { alpn: [PROTOCOL], sni: { "*": identity }, ca: identity.ca, verifyClient: false };
    const options = { ...this.#options(), ...tls, handshakeTimeout: handshakeMs };
    await quic().listen((session) => {
      try {
        incoming(this.#take(session));
      } catch {
        session.destroy(); // a throw would end all the others, too
      }
    }, options);
    if (this.#endpoint.address === undefined) throw await this.#bindFailure();
    this.#settle();
  }

  /** What connections that begin from now on are shown. */
  show(identity: ShownIdentity): void {
    if (this.isUsable) this.#endpoint.setSNIContexts({ "*": identity }, { replace: true });
  }

  /** To an IP address. Rejects when it cannot even be tried. */
  async connect(to: IpAddress, trust: Trust): Promise<Connection> {
    const ca = trust.ca && { ca: trust.ca };
    const verifyPeer = trust.ca ? "strict" : "manual";
    const tls = { servername: trust.serverName, ...ca, verifyPeer, rejectUnauthorized: trust.ca !== undefined };
    this.#connecting++;
    try {
      const session = await quic().connect(literal(this.#asSeenFrom(to)), {
        ...this.#options(),
        alpn: PROTOCOL,
        ...tls,
      } as SessionOptions);
      this.#settle();
      return this.#take(session);
    } finally {
      this.#connecting--;
    }
  }

  /** Lets in only a share, from 0 to 1, of the packets that may begin a connection; on Linux, elsewhere all. */
  letIn(share: number): void {
    const port = this.#endpoint.address?.port;
    if (port !== undefined && !this.#isClosing) admit(port, share);
  }

  /** Takes no more connections, and dials none. */
  refuse(): void {
    if (this.#isRefusing || this.#endpoint.destroyed) return;
    this.#isRefusing = true;
    this.#endpoint.busy = true;
  }

  /** Frees the port once the connections are over. Resolves when it is free, or at once while there are some. */
  async close(): Promise<void> {
    this.#isClosing = true;
    if (this.#hasSpoken) await new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS));
    const closed = this.#endpoint.close().catch(() => {});
    if (this.#connections.size > 0) return;
    const stuck = Promise.withResolvers<void>();
    const timer = setTimeout(stuck.resolve, STUCK_MS);
    await Promise.race([closed, stuck.promise]);
    clearTimeout(timer);
    if (!this.#endpoint.destroyed) this.#endpoint.destroy();
  }

  /** Once it is bound. */
  #settle(): void {
    const port = this.#endpoint.address?.port;
    if (this.#isSettled || port === undefined) return;
    this.#isSettled = true;
    deafenToIcmp(port);
  }

  #options(): SessionOptions {
    return {
      endpoint: this.#endpoint,
      reuseEndpoint: false,
      enableEarlyData: false,
      cc: "bbr",
      maxStreamWindow: STREAM_WINDOW_BYTES,
      maxWindow: 2 * STREAM_WINDOW_BYTES,
      transportParams: {
        maxIdleTimeout: IDLE_TIMEOUT_S,
        initialMaxStreamsBidi: STREAMS_PER_LINK,
        initialMaxStreamsUni: 0,
        initialMaxStreamDataBidiLocal: STREAM_WINDOW_BYTES,
        initialMaxStreamDataBidiRemote: STREAM_WINDOW_BYTES,
        initialMaxData: 2 * STREAM_WINDOW_BYTES,
        maxDatagramFrameSize: 0,
      },
      keepAlive: KEEP_ALIVE_MS,
    } as SessionOptions;
  }

  #take(session: QuicSession): Connection {
    this.#hasSpoken = true;
    const connection = new Connection(session);
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
    return connection;
  }

  #asSeenFrom(to: IpAddress): IpAddress {
    const host = unmapped(to.host);
    const isMapped = isIP(this.#at.host) === 6 && isIP(host) === 4;
    return { host: isMapped ? `::ffff:${host}` : host, port: to.port };
  }

  async #bindFailure(): Promise<Error> {
    const error: Error = await this.#endpoint.closed.then(
      () => new Error("it was closed at once"),
      (cause) => cause,
    );
    const code = /\((\d+)\)/.exec(error.message)?.[1];
    return Object.assign(error, { code: ERRNO[code ?? ""] ?? "EUNKNOWN" });
  }
}

/** One QUIC connection. */
export class Connection {
  /** Resolves when TLS has ended, and with strict trust only when the other side's certificate holds. */
  readonly opened: Promise<void>;
  /** Never rejects. */
  readonly closed: Promise<ConnectionEnd>;
  /** A stream that the other side has begun. */
  onStream: (stream: ByteStream) => void = (stream) => stream.abandon();
  readonly #session: QuicSession;

  constructor(session: QuicSession) {
    session.onerror = () => {};
    this.#session = session;
    this.opened = session.opened.then(() => {});
    this.opened.catch(() => {});
    this.closed = session.closed.then(
      () => ({ isClean: true, reason: "", transportCode: undefined }),
      (error) => endOf(error),
    );
    session.onstream = (stream) => this.onStream(new ByteStream(stream));
  }

  /** Only after `opened`. */
  get remote(): IpAddress {
    const remote = this.#session.path?.remote;
    return { host: remote?.address ?? "", port: remote?.port ?? 0 };
  }

  /** The leaf this side showed, as DER; empty when none was asked for. Only after `opened`. */
  get ownCertificate(): Uint8Array {
    return this.#session.certificate?.raw ?? new Uint8Array(0);
  }

  /** The leaf the other side showed, as DER. To be relied on by who dialed only, after `opened`. */
  get peerCertificate(): Uint8Array | undefined {
    return this.#session.peerCertificate?.raw;
  }

  async openStream(): Promise<ByteStream> {
    return new ByteStream(await this.#session.createBidirectionalStream({ highWaterMark: HIGH_WATER_BYTES }));
  }

  /** Ends it once all that was written has arrived. */
  finish(): void {
    if (!this.#session.destroyed) void this.#session.close(said(CODE_DONE, "done")).catch(() => {});
  }

  /** Ends it at once; the other side hears why. */
  cut(reason: string): void {
    if (!this.#session.destroyed) this.#session.destroy(undefined, said(CODE_CUT, reason));
  }
}

/** One stream of a connection: bytes in order, both ways. */
export class ByteStream {
  readonly #stream: QuicStream;

  constructor(stream: QuicStream) {
    this.#stream = stream;
    stream.closed.catch(() => {});
    stream.onerror = () => {};
    if (!stream.destroyed) stream.highWaterMark = HIGH_WATER_BYTES;
  }

  /** Takes all of them, a copy, or none: then wait for `writable`. On a stream that is over it takes none. */
  write(bytes: Uint8Array): boolean {
    return this.#stream.writer.writeSync(bytes);
  }

  /** Resolves when it can take more; with false when it is over. */
  async writable(): Promise<boolean> {
    // The protocol of node:stream/iter, a module that needs a flag to be imported.
    const drainable = this.#stream.writer as unknown as Record<symbol, () => Promise<unknown> | null>;
    const drained = drainable[Symbol.for("Stream.drainableProtocol")]!();
    await (drained ?? new Promise((resolve) => setImmediate(resolve))).catch(() => {});
    return !this.#stream.destroyed && (this.#stream.writer as unknown as { desiredSize: unknown }).desiredSize !== null;
  }

  /** Hands on all that comes, in order; resolves when no more will: not even whether it was cut can be told from here. */
  async read(take: (bytes: Uint8Array) => void): Promise<void> {
    try {
      for await (const batch of this.#stream) for (const bytes of batch) take(bytes);
    } catch {
      // the end of the connection tells more
    }
  }

  abandon(): void {
    if (!this.#stream.destroyed) this.#stream.destroy();
  }
}

function said(code: number, reason: string) {
  return { code, type: "application" as const, reason: reason.slice(0, 200) };
}

function endOf(error: unknown): ConnectionEnd {
  const { type, errorCode, reason, message } = error as Error & { type?: string; errorCode?: bigint; reason?: string };
  const isTransport = type === "transport" && errorCode !== undefined;
  return { isClean: false, reason: reason ?? message, transportCode: isTransport ? Number(errorCode) : undefined };
}

function literal(at: IpAddress): string {
  return hostAndPort(at.host, at.port);
}

/** Whether an error of `opened` means that strict verification refused: the runtime says nothing of why. */
export function isUntold(error: unknown): boolean {
  return (error as { code?: unknown }).code === "ERR_INVALID_STATE";
}
