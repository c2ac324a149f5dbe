// The ports through which other nodes are reached: listened on as long as a session uses them.
import type { Clock, Timer } from "../clock.ts";
import type { Log } from "../log.ts";
import type { Hole } from "../punch/hole.ts";
import type { PeerSession } from "../session/peer-session.ts";
import type { Link, Listener, Transport } from "../transport.ts";

/** A hole that no session uses is closed after this: both sides need a moment to go through it. */
const UNUSED_MS = 10_000;
const LOOK_MS = 5_000;

interface OpenHole {
  session: PeerSession;
  way: string;
  listener: Listener;
  usedAt: number;
}

export interface HolesOptions {
  transport: Transport;
  accept(link: Link): void;
  clock: Clock;
  log: Log;
}

export class Holes {
  readonly #options: HolesOptions;
  readonly #open = new Set<OpenHole>();
  #look: Timer | undefined;

  constructor(options: HolesOptions) {
    this.#options = options;
  }

  /** Takes over the port of a hole. The side that dials goes through it now, the other waits. */
  async use(session: PeerSession, { localPort, remote }: Hole, dials: boolean): Promise<void> {
    const { transport, accept, clock } = this.#options;
    const listener = await transport.listen(`punch://[::]:${localPort}`, accept);
    const way = `punch://${remote}?from=${localPort}`;
    this.#open.add({ session, way, listener, usedAt: clock.now() });
    this.#lookLater();
    if (session.isOver) await this.#check();
    else if (dials) session.addWays([way]);
  }

  async close(): Promise<void> {
    this.#look?.cancel();
    await Promise.all([...this.#open].map((hole) => this.#drop(hole)));
  }

  #lookLater(): void {
    this.#look ??= this.#options.clock.after(LOOK_MS, () => {
      this.#look = undefined;
      void this.#check();
      if (this.#open.size > 0) this.#lookLater();
    });
  }

  async #check(): Promise<void> {
    const now = this.#options.clock.now();
    const last = new Map([...this.#open].map((hole) => [hole.session, hole]));
    for (const hole of this.#open) {
      // A link's own address does not tell the acceptor which of its ports it came through: the last hole is the one in use.
      const isUsed = last.get(hole.session) === hole && hole.session.path?.kind === "punch";
      if (isUsed) hole.usedAt = now;
      if (hole.session.isOver || now - hole.usedAt >= UNUSED_MS) await this.#drop(hole);
    }
  }

  async #drop(hole: OpenHole): Promise<void> {
    this.#open.delete(hole);
    hole.session.removeWays([hole.way]);
    await hole.listener.close().catch((error) => {
      this.#options.log.warn("port of a hole not closed", { way: hole.way, error: (error as Error).message });
    });
  }
}
