// What every Transport must do. An implementation's test calls this with its setup and nothing else.
import { afterEach, describe, expect, it } from "vitest";
import { FRAME_LIMIT_BYTES, type Link, type Listener, type Transport } from "../../core/transport.ts";
import { until } from "../support/until.ts";

export interface TransportSetup {
  /** Another process's view of the network may need another transport; in-memory ones share one. */
  make(): Promise<{ transport: Transport; address: string; nowhere: string; cleanUp(): Promise<void> }>;
  /** Cases this transport cannot show, each with its reason. */
  skips?: Partial<Record<string, string>>;
}

/** Collects what a link delivers. */
class Sink {
  frames: Uint8Array[] = [];
  bytes = 0;
  drains = 0;
  ends: (Error | undefined)[] = [];
  keep = true;

  constructor(link: Link) {
    link.attach({
      frame: (frame) => {
        this.bytes += frame.length;
        if (this.keep) this.frames.push(frame.slice());
      },
      drained: () => {
        this.drains++;
      },
      closed: (error) => {
        this.ends.push(error);
      },
    });
  }

  get texts(): string[] {
    return this.frames.map((frame) => new TextDecoder().decode(frame));
  }
}

const text = (value: string) => new TextEncoder().encode(value);

export function transportConformance(name: string, setup: TransportSetup): void {
  const cleanUps: (() => Promise<void>)[] = [];

  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  async function listening() {
    const { transport, address, nowhere, cleanUp } = await setup.make();
    cleanUps.push(cleanUp);
    const accepted: Link[] = [];
    const listener = await transport.listen(address, (link) => accepted.push(link));
    cleanUps.push(() => listener.close());
    return { transport, listener, accepted, nowhere };
  }

  async function pair(): Promise<{ near: Link; far: Link; transport: Transport; listener: Listener }> {
    const { transport, listener, accepted } = await listening();
    const near = await transport.dial(listener.address);
    await until(() => accepted.length === 1, { what: "the accepted link" });
    cleanUps.push(async () => {
      near.destroy(new Error("test over"));
      accepted[0]!.destroy(new Error("test over"));
    });
    return { near, far: accepted[0]!, transport, listener };
  }

  function check(title: string, body: () => Promise<void>): void {
    const reason = setup.skips?.[title];
    if (reason) it.skip(`${title} (${reason})`, body);
    else it(title, body);
  }

  describe(`${name}: conformance`, () => {
    check("carries whole frames in order, both ways, head and body as one", async () => {
      const { near, far } = await pair();
      const [left, right] = [new Sink(near), new Sink(far)];
      for (let i = 0; i < 1_000; i++) near.send(text(`${i}:`), text("x".repeat(i % 97)));
      far.send(text("back"));
      await until(() => right.frames.length === 1_000 && left.frames.length === 1, { what: "all frames" });
      expect(right.texts).toEqual(Array.from({ length: 1_000 }, (_, i) => `${i}:${"x".repeat(i % 97)}`));
      expect(left.texts).toEqual(["back"]);
    });

    check("carries frames of 1 byte and of the limit, bytes exact", async () => {
      const { near, far } = await pair();
      const sink = new Sink(far);
      const large = new Uint8Array(FRAME_LIMIT_BYTES).map((_, i) => (i * 31) ^ (i >>> 8));
      near.send(new Uint8Array([7]));
      near.send(large.subarray(0, 24), large.subarray(24));
      near.send(new Uint8Array([8]));
      await until(() => sink.frames.length === 3, { what: "three frames" });
      expect(sink.frames.map((frame) => frame.length)).toEqual([1, FRAME_LIMIT_BYTES, 1]);
      expect(Bun.hash(sink.frames[1]!)).toBe(Bun.hash(large));
    });

    check("refuses an empty frame and one over the limit, and goes on", async () => {
      const { near, far } = await pair();
      const sink = new Sink(far);
      expect(() => near.send(new Uint8Array(0))).toThrow(/at least one byte/);
      expect(() => near.send(new Uint8Array(FRAME_LIMIT_BYTES + 1))).toThrow(/over the limit/);
      near.send(text("still here"));
      await until(() => sink.frames.length === 1, { what: "the frame after" });
    });

    check("lets the caller reuse its bytes as soon as send returns", async () => {
      const { near, far } = await pair();
      const sink = new Sink(far);
      const small = text("first");
      const large = new Uint8Array(200_000).fill(1);
      near.send(small, large);
      small.fill(0);
      large.fill(0);
      await until(() => sink.frames.length === 1, { what: "the frame" });
      expect(new TextDecoder().decode(sink.frames[0]!.subarray(0, 5))).toBe("first");
      expect(sink.frames[0]!.subarray(5).every((byte) => byte === 1)).toBe(true);
    });

    check("keeps frames that came before the handler was attached", async () => {
      const { near, far } = await pair();
      near.send(text("early"));
      near.close();
      new Sink(near);
      await until(() => near.send(text("late")), { what: "close" });
      const sink = new Sink(far);
      await until(() => sink.ends.length === 1, { what: "the end" });
      expect(sink.texts).toEqual(["early"]);
    });

    check("close sends what was taken, then both sides hear closed once, without error", async () => {
      const { near, far } = await pair();
      const [left, right] = [new Sink(near), new Sink(far)];
      for (let i = 0; i < 100; i++) near.send(new Uint8Array(50_000).fill(i));
      near.close();
      near.close();
      await until(() => left.ends.length === 1 && right.ends.length === 1, { what: "both ends" });
      expect(right.frames.length).toBe(100);
      expect(right.bytes).toBe(5_000_000);
      expect([left.ends, right.ends]).toEqual([[undefined], [undefined]]);
      expect(near.send(text("after"))).toBe(true);
    });

    check("destroy ends both sides at once; the own side hears the error, once", async () => {
      const { near, far } = await pair();
      const [left, right] = [new Sink(near), new Sink(far)];
      const why = new Error("enough");
      near.destroy(why);
      near.destroy(new Error("again"));
      await until(() => left.ends.length === 1 && right.ends.length === 1, { what: "both ends" });
      expect(left.ends).toEqual([why]);
      expect(left.frames).toEqual([]);
    });

    check("nothing is delivered after destroy, also from inside a frame handler", async () => {
      const { near, far } = await pair();
      let frames = 0;
      let ends = 0;
      far.attach({
        frame: () => {
          frames++;
          far.destroy(new Error("one is enough"));
        },
        drained: () => {},
        closed: () => {
          ends++;
        },
      });
      for (let i = 0; i < 50; i++) near.send(text(String(i)));
      await until(() => ends === 1, { what: "the end" });
      expect(frames).toBe(1);
    });

    check("a paused reader stops the sender, whose memory stays bounded, and resuming delivers all", async () => {
      const { near, far } = await pair();
      const sink = new Sink(far);
      const sender = new Sink(near);
      sink.keep = false;
      far.pause();
      const frame = new Uint8Array(64 * 1024);
      let sent = 0;
      while (near.send(frame) && sent < 1_000) sent++;
      expect(sent).toBeLessThan(1_000); // 64 MB did not fit anywhere: somebody said stop
      expect(sink.bytes).toBe(0);
      far.resume();
      await until(() => sink.bytes === (sent + 1) * frame.length, { what: "everything sent" });
      await until(() => sender.drains === 1, { what: "drained" });
    });

    check("a paused reader gets everything once it resumes, also when the sender has closed in between", async () => {
      const { near, far } = await pair();
      const sink = new Sink(far);
      far.pause();
      for (let i = 0; i < 8; i++) near.send(new Uint8Array(40_000).fill(i));
      near.send(text("last"));
      near.close();
      new Sink(near);
      // Another link shows that what was sent before has had its way through the machine.
      const { near: other, far: otherFar } = await pair();
      const otherSink = new Sink(otherFar);
      for (let i = 0; i < 100; i++) {
        other.send(text("x"));
        await until(() => otherSink.frames.length === i + 1, { what: "a frame on another link" });
      }
      expect([sink.frames, sink.ends]).toEqual([[], []]);
      far.resume();
      await until(() => sink.ends.length === 1, { what: "the end" });
      expect(sink.ends).toEqual([undefined]);
      expect(sink.frames.length).toBe(9);
      expect(sink.texts.at(-1)).toBe("last");
    });

    check("close loses nothing of what was sent before, also while the other side sends", async () => {
      const { near, far } = await pair();
      const left = new Sink(near);
      left.keep = false;
      const frame = new Uint8Array(30_000);
      const right = { bytes: 0, ends: [] as (Error | undefined)[] };
      let toFlood = 1_000;
      const flood = () => {
        while (toFlood-- > 0 && far.send(frame));
      };
      far.attach({
        frame: (bytes) => {
          right.bytes += bytes.length;
          flood();
        },
        drained: flood,
        closed: (error) => {
          toFlood = 0;
          right.ends.push(error);
        },
      });
      for (let i = 0; i < 200; i++) near.send(frame);
      await until(() => left.bytes > 0, { what: "something of the flood" });
      near.close();
      await until(() => left.ends.length === 1 && right.ends.length === 1, { what: "both ends" });
      expect(right.bytes).toBe(200 * frame.length);
    });

    check("both sides may close at once", async () => {
      const { near, far } = await pair();
      const [left, right] = [new Sink(near), new Sink(far)];
      near.send(text("to far"));
      far.send(text("to near"));
      near.close();
      far.close();
      await until(() => left.ends.length === 1 && right.ends.length === 1, { what: "both ends" });
      expect([left.ends, right.ends]).toEqual([[undefined], [undefined]]);
    });

    check("bytes are exact through a reader that stops and goes, frames of all sizes", async () => {
      const { near, far } = await pair();
      const sizes = Array.from({ length: 300 }, (_, i) => 1 + ((i * 7_919) % 90_000));
      const sent = sizes.map((size, i) => new Uint8Array(size).map((_, at) => i + at * 7));
      const got: Uint8Array[] = [];
      let ended = false;
      far.attach({
        frame: (bytes) => {
          got.push(bytes.slice());
          if (got.length % 20 !== 0) return;
          far.pause();
          setImmediate(() => far.resume());
        },
        drained: () => {},
        closed: () => {
          ended = true;
        },
      });
      let next = 0;
      const pump = () => {
        while (next < sent.length) {
          const frame = sent[next++]!;
          const goesOn = next % 3 === 0 ? near.send(frame.subarray(0, 1), frame.subarray(1)) : near.send(frame);
          if (!goesOn) return;
        }
        near.close();
      };
      near.attach({ frame: () => {}, drained: pump, closed: () => {} });
      pump();
      await until(() => ended, { what: "the end" });
      expect(got.map((frame) => frame.length)).toEqual(sizes);
      expect(got.every((frame, i) => Buffer.compare(frame, sent[i]!) === 0)).toBe(true);
    });

    check("dialing where nobody listens is UNREACHABLE, an aborted dial CANCELLED", async () => {
      const { transport, listener, nowhere } = await listening();
      await expect(transport.dial(nowhere)).rejects.toMatchObject({ code: "UNREACHABLE" });
      const aborted = AbortSignal.abort();
      await expect(transport.dial(listener.address, { signal: aborted })).rejects.toMatchObject({ code: "CANCELLED" });
    });

    check("a closed listener takes no more links; those made stay", async () => {
      const { near, far, transport, listener } = await pair();
      const sink = new Sink(far);
      await listener.close();
      await expect(transport.dial(listener.address)).rejects.toMatchObject({ code: "UNREACHABLE" });
      near.send(text("still open"));
      await until(() => sink.frames.length === 1, { what: "a frame on the old link" });
    });

    check("many links at once do not mix", async () => {
      const { transport, listener, accepted } = await listening();
      const links = await Promise.all(Array.from({ length: 50 }, () => transport.dial(listener.address)));
      await until(() => accepted.length === 50, { what: "50 links" });
      const sinks = accepted.map((link) => new Sink(link));
      links.forEach((link, i) => {
        for (let n = 0; n < 20; n++) link.send(text(String(i)));
      });
      await until(() => sinks.every((sink) => sink.frames.length === 20), { what: "20 frames on each" });
      expect(sinks.every((sink) => new Set(sink.texts).size === 1)).toBe(true);
      expect(new Set(sinks.map((sink) => sink.texts[0])).size).toBe(50);
      for (const link of links) link.close();
    });
  });
}
