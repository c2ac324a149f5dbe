// Links inside one process: what the tests of everything above the transports are built on.
// Each transport instance is a network of its own; addresses are any text.
import { MeshError } from "../../core/errors.ts";
import type { DialOptions, Link, LinkHandler, Listener, Transport } from "../../core/transport.ts";
import { checkFrameSize } from "../../core/wire/frame.ts";

const HIGH_WATER_BYTES = 1024 * 1024;

export class MemoryTransport implements Transport {
  readonly name = "memory";
  readonly #listeners = new Map<string, (link: Link) => void>();

  async listen(address: string, accept: (link: Link) => void): Promise<Listener> {
    if (this.#listeners.has(address)) {
      throw new MeshError("UNREACHABLE", `cannot listen on ${address}: it is taken`);
    }
    this.#listeners.set(address, accept);
    return {
      address,
      close: async () => {
        this.#listeners.delete(address);
      },
    };
  }

  async dial(address: string, options: DialOptions = {}): Promise<Link> {
    if (options.signal?.aborted) throw new MeshError("CANCELLED", `dialing ${address} was cancelled`);
    const accept = this.#listeners.get(address);
    if (!accept) throw new MeshError("UNREACHABLE", `nothing listens on ${address}`);
    const [near, far] = memoryPair(`memory:${address}`);
    accept(far);
    return near;
  }
}

/** Two ends of one link. */
export function memoryPair(label = "memory"): [Link, Link] {
  const a = new MemoryLink(label);
  const b = new MemoryLink(label);
  a.join(b);
  b.join(a);
  return [a, b];
}

class MemoryLink implements Link {
  readonly label: string;
  #peer!: MemoryLink;
  #handler: LinkHandler | undefined;
  #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  #paused = false;
  #delivering = false;
  #wantsDrained = false;
  #closing = false;
  #ended: { error?: Error } | undefined;

  constructor(label: string) {
    this.label = label;
  }

  join(peer: MemoryLink): void {
    this.#peer = peer;
  }

  attach(handler: LinkHandler): void {
    this.#handler = handler;
    this.#schedule();
  }

  send(head: Uint8Array, body: Uint8Array = new Uint8Array(0)): boolean {
    if (this.#closing || this.#ended) return true;
    checkFrameSize(head.length + body.length);
    const frame = new Uint8Array(head.length + body.length);
    frame.set(head);
    frame.set(body, head.length);
    this.#peer.#inbox.push(frame);
    this.#peer.#inboxBytes += frame.length;
    this.#peer.#schedule();
    if (this.#peer.#inboxBytes < HIGH_WATER_BYTES) return true;
    this.#wantsDrained = true;
    return false;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#schedule();
  }

  setRef(): void {} // nothing here keeps a process alive

  close(): void {
    if (this.#closing || this.#ended) return;
    this.#closing = true;
    this.#peer.#schedule();
    this.#schedule();
  }

  destroy(error: Error): void {
    if (this.#ended) return;
    this.#inbox = [];
    this.#inboxBytes = 0;
    this.#end(error);
    if (!this.#peer.#ended) this.#peer.#end(new MeshError("LINK_CLOSED", `${this.label} broke: ${error.message}`));
  }

  #end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = error ? { error } : {};
    this.#handler?.closed(error);
  }

  #schedule(): void {
    if (this.#delivering || !this.#handler) return;
    this.#delivering = true;
    queueMicrotask(() => {
      this.#delivering = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    while (!this.#paused && !this.#ended) {
      const frame = this.#inbox.shift();
      if (!frame) break;
      this.#inboxBytes -= frame.length;
      this.#handler?.frame(frame);
    }
    if (this.#peer.#wantsDrained && this.#inboxBytes === 0 && !this.#peer.#ended) {
      this.#peer.#wantsDrained = false;
      this.#peer.#handler?.drained();
    }
    if (this.#inbox.length > 0 || this.#ended) return;
    if (this.#peer.#closing || (this.#closing && this.#peer.#ended)) {
      this.#end();
      this.#peer.#schedule();
    } else if (this.#closing && this.#peer.#inbox.length === 0) {
      this.#end();
    }
  }
}
