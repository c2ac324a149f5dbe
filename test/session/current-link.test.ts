import { describe, expect, it } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { CurrentLink } from "../../core/session/current-link.ts";
import { LinkEnd } from "../../core/session/link-end.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";
import { until } from "../support/until.ts";

/** A new link past its handshake, and what its other side knows of it. */
function madeLink(generation: number) {
  const [near, far] = memoryPair();
  const heard: number[] = [];
  const other = { heard, isClosed: false };
  far.attach({
    frame: (frame) => void heard.push(frame[0]!),
    drained: () => {},
    closed: () => {
      other.isClosed = true;
    },
  });
  const end = new LinkEnd(near, { span: () => {}, drained: () => {}, closed: () => {} });
  return { other, link: { end, isOwn: true, address: `memory:${generation}`, generation } };
}

const ack = { taken: 0, allowedBytes: 0 };

describe("CurrentLink", () => {
  it("keeps the one before until the peer has taken the new one, and says nothing on it", async () => {
    const current = new CurrentLink(new ManualClock());
    const [first, second] = [madeLink(1), madeLink(2)];
    current.replace({ ...first.link, ack });
    current.confirm();
    current.replace(second.link);
    current.tell(Uint8Array.of(7));
    await until(() => second.other.heard.length === 1, { what: "a frame on the new link" });
    expect([first.other.heard, first.other.isClosed]).toEqual([[], false]);
    expect([current.generation, current.sharedGeneration]).toEqual([2, 1]);
    current.confirm();
    expect(current.sharedGeneration).toBe(2);
    await until(() => first.other.isClosed, { what: "the end of the one before" });
    current.cut();
  });

  it("that is gone takes the one before with it, and leaves what is known of it", async () => {
    const clock = new ManualClock();
    const current = new CurrentLink(clock);
    const [first, second] = [madeLink(1), madeLink(2)];
    current.replace(first.link);
    current.replace(second.link);
    clock.advance(500);
    current.gone();
    current.tell(Uint8Array.of(7)); // to nobody
    await until(() => first.other.isClosed, { what: "the end of the one before" });
    expect(current).toMatchObject({ end: undefined, address: "memory:2", isOwn: true, forMs: 500 });
  });

  it("keeps the process alive or not, whichever was said, on each link to come", () => {
    const current = new CurrentLink(new ManualClock());
    const { link } = madeLink(1);
    const said: boolean[] = [];
    Object.assign(link.end.link, { setRef: (keeps: boolean) => void said.push(keeps) });
    current.setRef(false);
    current.replace(link);
    current.setRef(true);
    expect(said).toEqual([false, true]);
    current.cut();
  });
});
