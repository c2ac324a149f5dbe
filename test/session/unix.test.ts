// Sessions over real sockets at full speed: many small frames both ways, with readers and writers in each other's way.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { systemClock } from "../../core/clock.ts";
import type { PeerSession } from "../../core/session/peer-session.ts";
import { Peers } from "../../core/session/peers.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { until } from "../support/until.ts";
import { certificateOf, identityOf, MESH_ID, verify, verifySignature } from "./identities.ts";

const FRAMES = 200_000;
const FRAME_BYTES = 64;

/** Sends numbered frames whenever there is room, and checks that those of the other side come in order. */
class Pump {
  got = 0;
  isWrong = false;
  end: Error | undefined;
  #sent = 0;
  readonly #frame = new Uint8Array(FRAME_BYTES).fill(200);
  readonly #session: PeerSession;

  constructor(session: PeerSession) {
    this.#session = session;
    session.main.attach({
      frame: () => {},
      span: (bytes, start, end) => {
        const number = (bytes[start + 1]! << 16) | (bytes[start + 2]! << 8) | bytes[start + 3]!;
        if (number !== this.got++ || end - start !== FRAME_BYTES) this.isWrong = true;
      },
      drained: () => this.pump(),
      closed: (error) => {
        this.end = error;
      },
    });
  }

  pump(): void {
    while (this.#sent < FRAMES) {
      this.#frame[1] = this.#sent >>> 16;
      this.#frame[2] = this.#sent >>> 8;
      this.#frame[3] = this.#sent++;
      if (!this.#session.main.send(this.#frame)) return;
    }
  }
}

it(`F29 F34 Session over Unix sockets: ${FRAMES} frames each way at once, all in order, and none kept after that`, async () => {
  const folder = mkdtempSync(join(tmpdir(), "mesh-session-"));
  const transport = new UnixTransport();
  const pumps: Pump[] = [];
  const peersOf = (name: string, node: number) =>
    new Peers({
      self: { node, name, role: "worker", meshId: MESH_ID, build: "test" },
      addresses: () => [],
      identity: () => identityOf(certificateOf(name)),
      ...{ verify, verifySignature, clock: systemClock, random: Math.random },
      dial: (address, options) => transport.dial(address, options),
      onSession: (session) => void pumps.push(new Pump(session)),
    });
  const [a, b] = [peersOf("a", 100), peersOf("b", 200)];
  const listener = await transport.listen(join(folder, "b.sock"), (link) => b.accept(link));
  try {
    const session = await a.connect([listener.address], { name: "b" });
    await until(() => pumps.length === 2, { what: "both sides" });
    for (const pump of pumps) pump.pump();
    await until(() => pumps.every(({ got }) => got === FRAMES), { what: "all frames", timeoutMs: 25_000 });
    expect(pumps.map(({ isWrong }) => isWrong)).toEqual([false, false]);
    await until(() => session.lanes.main.heldBytes === 0, { what: "the last ack" });
    await a.close();
    await until(() => pumps[1]!.end !== undefined || pumps[0]!.end !== undefined, { what: "the end" });
  } finally {
    await listener.close();
    rmSync(folder, { recursive: true });
  }
});
