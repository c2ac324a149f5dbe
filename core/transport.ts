// What core knows of the network: a Transport makes Links, a Link carries whole frames between two processes.
// Implementations live in transports/; core never names one. This file holds only what all of them can promise.

/** The largest frame any link carries, header included. A larger one ends the link that brought it. */
export const FRAME_LIMIT_BYTES = 16 * 1024 * 1024;

/** What a link tells its owner. Set once, before the link delivers anything. */
export interface LinkHandler {
  /**
   * One whole frame, in the order it was sent. The bytes belong to the link and are valid during the call only:
   * keep a copy of what must outlive it.
   */
  frame(frame: Uint8Array): void;
  /** If there: called instead of `frame` by links that have the frame inside other bytes, from `start` to before `end`. */
  span?(bytes: Uint8Array, start: number, end: number): void;
  /** The transport can take more after a `send` that returned false. */
  drained(): void;
  /** Called exactly once, last. Without `error` the other side ended the link on purpose. */
  closed(error?: Error): void;
}

export interface LinkCertificates {
  readonly ownCertificate: Uint8Array;
  /** Undefined when the peer, a stranger, showed none that our CA signed, or when TLS did not ask for one. */
  readonly peerCertificate: Uint8Array | undefined;
  /** TLS did not ask who dialed (see transports/udp/quic.ts for why): its signed greeting alone tells. */
  readonly greetingDecides?: true;
}

/**
 * An ordered, whole-frame connection to one peer. Frames sent before the peer attached its handler wait for it.
 * Everything sent before `close` arrives before the other side hears `closed`, unless an error breaks the link.
 */
export interface Link {
  /** Where this link leads, for people: "unix:/run/…/2.sock". */
  readonly label: string;
  /** What TLS showed of both ends: the leaf certificates as DER. Not there on links without TLS. */
  readonly tls?: LinkCertificates;
  /** Ends the link on a frame of over so many bytes from now on; at first FRAME_LIMIT_BYTES. */
  limitFrames?(limitBytes: number): void;
  /** Starts delivery to `handler`. Called once. */
  attach(handler: LinkHandler): void;
  /**
   * Takes the parts of one frame and sends them as one. The caller may reuse `head` as soon as it returns; `body` must not
   * change any more, as a session keeps a large one instead of copying it.
   * False asks the caller to wait for `drained`; the frame was taken all the same. On a closed link it does nothing
   * and returns true. Throws FRAME_TOO_LARGE above FRAME_LIMIT_BYTES and an error on an empty frame.
   */
  send(head: Uint8Array, body?: Uint8Array): boolean;
  /** Stops or resumes delivery; the peer's `send` returns false once what lies between is full. */
  pause(): void;
  resume(): void;
  /** Whether this link, while open, keeps the process from ending by itself. True at first; always so over UDP. */
  setRef(keepsProcess: boolean): void;
  /**
   * Where the end of the peer's process closes no link: asks its machine, without a word to the process, and ends the link with an error
   * when that says that nothing listens there any more. Anybody may have said so: it proves nothing of the peer.
   */
  probe?(): void;
  /** Sends what was taken, then ends the link. Safe to call again. */
  close(): void;
  /** Ends the link at once, dropping what was not sent; the own handler hears `closed(error)`. */
  destroy(error: Error): void;
}

export interface Listener {
  /** The address peers dial: the port or path that was really bound. */
  readonly address: string;
  /** Stops accepting and removes what `listen` created. Links made so far stay. */
  close(): Promise<void>;
}

export interface DialOptions {
  /** Gives up after this many milliseconds. Default 5,000. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface Transport {
  /** The scheme of its addresses: "unix", "memory", "tcp", "udp". */
  readonly name: string;
  /** Accepts links at `address` until the listener is closed. Throws UNREACHABLE when the address cannot be had. */
  listen(address: string, accept: (link: Link) => void): Promise<Listener>;
  /** Throws UNREACHABLE when nothing accepts there, TIMEOUT or CANCELLED as asked for. */
  dial(address: string, options?: DialOptions): Promise<Link>;
}

/** A place of this node at a relay by TCP. The other side dials through its own place there. */
export interface RelayedPlace {
  /** Of the relay: "203.0.113.9:42001". */
  relay: string;
  /** 16 bytes: the first that are sent there. */
  token: Uint8Array;
  /** The own listener that the other side is to reach: "tcp://[::]:7450". */
  to: string;
  signal: AbortSignal;
}

/** What carries links between the nodes of a mesh, by whatever the scheme of an address says. */
export interface MeshTransport extends Transport {
  /**
   * Brings what comes out of a relay to a listener of this node, for one connection. Resolves when that is over, or when the relay
   * ended before it began; rejects with UNREACHABLE when the relay or the listener is not, CANCELLED by `signal` before it was
   * connected.
   */
  spliceRelay(place: RelayedPlace): Promise<void>;
}
