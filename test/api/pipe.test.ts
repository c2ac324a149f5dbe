// Pipes between processes joined by memory links: limits, ends, deaths.
import { describe, expect, it } from "vitest";
import type { Funnel, Spout } from "../../core/api/pipe-ends.ts";
import { AHEAD_BYTES } from "../../core/api/pipe-home.ts";
import { settled } from "../node/support.ts";
import { until } from "../support/until.ts";
import { meshOf, travelled } from "./pipe-support.ts";

const KIB = 1024;

/** The message and code a promise rejects with; "kept" and its value when it does not. */
async function outcome(promise: Promise<unknown>): Promise<[string, string]> {
  return promise.then(
    (value): [string, string] => ["kept", String(value)],
    (error): [string, string] => [error.code, error.message],
  );
}

describe("pipe", () => {
  it("F37 carries any value from a process to another, through a third that made it", async () => {
    const [mesh, home, a, b] = await meshOf(2);
    const [funnel, spout] = mesh.pipe<unknown>(home);
    const [into, from] = [travelled(funnel, home, a!), travelled(spout, home, b!)];
    const values = [1, undefined, null, "é", { a: [1n] }, new Map([[1, new Set([2])]]), new Uint8Array([1, 2])];
    for (const value of values) await into.send(value);
    await into.close();
    const got: unknown[] = [];
    for await (const value of from) got.push(value);
    expect(got).toEqual(values);
  });

  it("F37 ends travel through pipes, nested in values, and work where they arrive", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [orders, inbox] = mesh.pipe<{ n: number; answers: Map<string, Funnel<number>> }>(home);
    const worker = travelled(inbox, home, a!);
    const work = (async () => {
      for await (const { n, answers } of worker) await answers.get("here")!.send(n * 2);
    })();
    const [answers, results] = mesh.pipe<number>(home);
    for (const n of [1, 2, 3]) await orders.send({ n, answers: new Map([["here", answers]]) });
    expect([await results.receive(), await results.receive(), await results.receive()]).toEqual([2, 4, 6]);
    await orders.close();
    await work;
  });

  it("F37 a value sent stays as it was when it was sent, also within one process", async () => {
    const [mesh, home] = await meshOf(0);
    const [funnel, spout] = mesh.pipe<number[]>(home);
    const list = [1];
    await funnel.send(list);
    list.push(2);
    expect(await spout.receive()).toEqual([1]);
  });

  it("F37 what cannot travel is refused with its path, and the pipe goes on", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<unknown>(home);
    const into = travelled(funnel, home, a!);
    const expected = ["CANNOT_TRAVEL", expect.stringContaining("funnel.send: the value.a[1]: a Promise cannot travel")];
    expect(await outcome(into.send({ a: [0, Promise.resolve()] }))).toEqual(expected);
    expect(await outcome(funnel.send({ a: [0, Promise.resolve()] }))).toEqual(expected);
    await into.send("next");
    expect(await spout.receive()).toBe("next");
  });

  it.each([true, false])(
    "F26 F31 large messages arrive whole and in order among small ones (direct link: %s)",
    async (direct) => {
      const [mesh, home, a, b] = await meshOf(2, direct);
      const [funnel, spout] = mesh.pipe<Uint8Array>(home);
      const [into, from] = [travelled(funnel, home, a!), travelled(spout, home, b!)];
      const sizes = [10, 3_000_000, 0, 700_000, 1];
      const sent = (async () => {
        for (const [i, size] of sizes.entries()) await into.send(new Uint8Array(size).fill(i));
        await into.close();
      })();
      const got: [number, boolean][] = [];
      for await (const bytes of from) got.push([bytes.length, bytes.every((byte) => byte === got.length)]);
      await sent;
      expect(got).toEqual(sizes.map((size) => [size, true]));
    },
  );
});

describe("flow", () => {
  it("F33 X15 a sender gets ahead by the limit and one message, then waits", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<Uint8Array>(home, { highWaterBytes: 100 * KIB });
    const into = travelled(funnel, home, a!);
    let sent = 0;
    const all = Promise.all(
      Array.from({ length: 30 }, async () => into.send(new Uint8Array(10 * KIB)).then(() => sent++)),
    );
    await settled();
    expect(sent).toBe(10);
    for (let i = 0; i < 30; i++) await spout.receive();
    await all;
    expect(sent).toBe(30);
  });

  it("F33 a message larger than the limit passes, alone", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<Uint8Array>(home, { highWaterBytes: 1 });
    const into = travelled(funnel, home, a!);
    let sent = 0;
    const all = Promise.all([5_000, 6_000].map((size) => into.send(new Uint8Array(size)).then(() => sent++)));
    await settled();
    expect(sent).toBe(1);
    expect([(await spout.receive()).length, (await spout.receive()).length]).toEqual([5_000, 6_000]);
    await all;
  });

  it.each([true, false])(
    'F33 full: "drop" drops what finds the pipe full, and counts it (at home: %s)',
    async (isHome) => {
      const [mesh, home, a] = await meshOf(1);
      const [funnel, spout] = mesh.pipe<Uint8Array>(home, { highWaterBytes: 3_000, full: "drop" });
      const into = isHome ? funnel : travelled(funnel, home, a!);
      for (let i = 0; i < 10; i++) await into.send(new Uint8Array(1_000).fill(i));
      expect(into.dropped).toBe(7);
      await into.close();
      const got: number[] = [];
      for await (const bytes of spout) got.push(bytes[0]!);
      expect(got).toEqual([0, 1, 2]);
    },
  );

  it('F33 full: "fail" rejects with FULL and says how much is ahead', async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<Uint8Array>(home, { highWaterBytes: 2_000, full: "fail" });
    const into = travelled(funnel, home, a!);
    await into.send(new Uint8Array(1_999));
    expect(await outcome(into.send(new Uint8Array(1)))).toEqual([
      "FULL",
      expect.stringMatching(/20\d\d bytes .* 2000 may be/),
    ]);
    await spout.receive();
    await settled();
    await into.send(new Uint8Array(1));
  });

  it("F33 each sending process has the limit for itself", async () => {
    const [mesh, home, a, b] = await meshOf(2);
    const [funnel, spout] = mesh.pipe<string>(home, { highWaterBytes: 1 });
    await travelled(funnel, home, a!).send("a");
    await travelled(funnel, home, b!).send("b");
    await funnel.send("home");
    expect([await spout.receive(), await spout.receive(), await spout.receive()].sort()).toEqual(["a", "b", "home"]);
  });

  it("X15 a loop that stops taking gets no more than it may have ahead", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<Uint8Array>(home, { highWaterBytes: 64 * KIB });
    const from = travelled(spout, home, a!);
    let sent = 0;
    const feed = (async () => {
      for (; sent < 200; sent++) await funnel.send(new Uint8Array(20 * KIB));
      await funnel.close();
    })();
    let taken = 0;
    for await (const _ of from) {
      if (++taken !== 20) continue;
      await settled(50);
      expect(sent - taken).toBeLessThanOrEqual(AHEAD_BYTES / (20 * KIB) + 1 + 64 / 20 + 1);
    }
    await feed;
    expect(taken).toBe(200);
  });

  it("F37 values go in turn to those who wait: none takes all that it could hold", async () => {
    const [mesh, home, a, b] = await meshOf(2);
    const [funnel, spout] = mesh.pipe<number>(home);
    const counts = [0, 0];
    const loops = [a!, b!].map(async (process, i) => {
      for await (const _ of travelled(spout, home, process)) counts[i]!++;
    });
    await settled();
    for (let i = 0; i < 12; i++) {
      await funnel.send(i);
      await settled(4);
    }
    for (let i = 0; i < 12; i++) void funnel.send(i); // all at once
    await funnel.close();
    await Promise.all(loops);
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(8);
  });
});

describe("limits of waiting calls", () => {
  it("F37 receive gives up in time or by its signal, and loses nothing", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<number>(home);
    for (const from of [spout, travelled(spout, home, a!)]) {
      const late = outcome(from.receive({ timeoutMs: 50 }));
      const controller = new AbortController();
      const cancelled = outcome(from.receive({ signal: controller.signal }));
      await settled();
      mesh.clock.advance(50);
      controller.abort(new Error("enough"));
      await settled();
      await funnel.send(7);
      expect([await late, await cancelled]).toEqual([
        ["TIMEOUT", "spout.receive: nothing within 50 ms"],
        ["CANCELLED", "spout.receive was cancelled by its signal"],
      ]);
      expect(await from.receive()).toBe(7);
      expect(await outcome(from.receive({ signal: controller.signal }))).toEqual(["CANCELLED", expect.any(String)]);
    }
  });

  it("F37 a value that comes while its receiver gives up goes to the next one, in another process too", async () => {
    const [mesh, home, a, b] = await meshOf(2);
    const [funnel, spout] = mesh.pipe<number>(home);
    const [early, other] = [travelled(spout, home, a!), travelled(spout, home, b!)];
    const late = outcome(early.receive({ timeoutMs: 1 }));
    await settled();
    const sent = funnel.send(1); // is on its way when the time is over
    mesh.clock.advance(1);
    expect((await late)[0]).toBe("TIMEOUT");
    await sent;
    expect(await other.receive()).toBe(1);
  });

  it("F33 send gives up in time or by its signal; it was not sent then, those behind it are", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<string>(home, { highWaterBytes: 1 });
    for (const into of [funnel, travelled(funnel, home, a!)]) {
      await into.send("first");
      const controller = new AbortController();
      const late = outcome(into.send("late", { timeoutMs: 10 }));
      const cancelled = outcome(into.send("cancelled", { signal: controller.signal }));
      const last = into.send("last");
      await settled();
      mesh.clock.advance(10);
      controller.abort();
      expect([(await late)[0], (await cancelled)[0]]).toEqual(["TIMEOUT", "CANCELLED"]);
      expect([await spout.receive(), await spout.receive()]).toEqual(["first", "last"]);
      await last;
    }
  });

  it("F37 tryReceive never waits: here and from elsewhere", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<number>(home);
    for (const from of [spout, travelled(spout, home, a!)]) {
      expect(await from.tryReceive()).toBe(undefined);
      await funnel.send(1);
      await funnel.send(2);
      expect([await from.tryReceive(), await from.receive(), await from.tryReceive()]).toEqual([1, 2, undefined]);
    }
  });

  it("F37 tryReceive beside somebody who waits takes nothing away from them", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<number>(home);
    const from = travelled(spout, home, a!);
    const waits = from.receive();
    expect(await from.tryReceive()).toBe(undefined);
    await funnel.send(1);
    expect(await waits).toBe(1);
  });

  it.each([
    ["timeoutMs: 0", { timeoutMs: 0 }],
    ["timeoutMs: 1.5", { timeoutMs: 1.5 }],
    ["a signal that is none", { signal: {} }],
    ["an unknown option", { timeout: 5 }],
    ["null", null],
  ])("F37 %s is refused with USAGE", async (_, options) => {
    const [mesh, home] = await meshOf(0);
    const [funnel, spout] = mesh.pipe<number>(home);
    expect((await outcome(funnel.send(1, options as never)))[0]).toBe("USAGE");
    expect((await outcome(funnel.flush(options as never)))[0]).toBe("USAGE");
    expect((await outcome(spout.receive(options as never)))[0]).toBe("USAGE");
  });
});

describe("the end of a pipe", () => {
  const closedWords = "spout.receive: the pipe was closed, and all that was in it is received";

  it("F37 close lets what was sent be received, then says that it was closed", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<number>(home);
    const from = travelled(spout, home, a!);
    for (let i = 0; i < 3; i++) await funnel.send(i);
    await funnel.close();
    await funnel.close();
    expect([await from.receive(), await from.receive(), await from.receive()]).toEqual([0, 1, 2]);
    expect(await outcome(from.receive())).toEqual(["CLOSED", closedWords]);
    expect(await outcome(from.receive())).toEqual(["CLOSED", closedWords]);
    expect(await outcome(from.tryReceive())).toEqual(["CLOSED", expect.stringContaining("the pipe was closed")]);
    expect(await outcome(spout.receive())).toEqual(["CLOSED", closedWords]);
    expect(await outcome(funnel.send(4))).toEqual(["CLOSED", "funnel.send: this funnel was closed"]);
  });

  it("F37 close ends those who wait and loops, here and elsewhere", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<number>(home);
    const waits = [spout, travelled(spout, home, a!)].flatMap((from) => [
      outcome(from.receive()),
      outcome(Array.fromAsync(from)),
    ]);
    await settled();
    await funnel.close();
    const each = [
      ["CLOSED", closedWords],
      ["kept", ""],
    ];
    expect(await Promise.all(waits)).toEqual([...each, ...each]);
  });

  it("F37 with senders: 3 it ends when the third funnel is closed, in whatever processes", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<string>(home, { senders: 3 });
    const copies = [travelled(funnel, home, a!), travelled(funnel, home, a!)];
    await copies[0]!.send("a");
    await copies[0]!.close();
    await funnel.close();
    await settled();
    await copies[1]!.send("b");
    const all = Array.fromAsync(spout);
    await copies[1]!.close();
    expect(await all).toEqual(["a", "b"]);
  });

  it("F32 a sender that others closed the pipe for hears of it: its send, its flush and its close fail", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel] = mesh.pipe<string>(home, { highWaterBytes: 1 });
    const into = travelled(funnel, home, a!);
    await into.send("kept");
    await into.flush();
    const waits = outcome(into.send("never"));
    await settled();
    await funnel.close();
    expect(await waits).toEqual(["CLOSED", "funnel.send: the pipe was closed"]);
    expect(await outcome(into.send("never"))).toEqual(["CLOSED", "funnel.send: the pipe was closed"]);
    expect(await outcome(into.flush())).toEqual(["kept", "undefined"]);
  });

  it("F32 flush rejects for what came after the pipe was closed", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<string>(home);
    const into = travelled(funnel, home, a!);
    await into.send("first");
    await into.flush();
    const closing = funnel.close();
    await into.send("too late"); // has not heard of it
    await closing;
    const expected = [
      "CLOSED",
      "funnel.flush: the pipe was closed before the last 1 of this process's messages were in it",
    ];
    expect(await outcome(into.flush())).toEqual(expected);
    expect(await Array.fromAsync(spout)).toEqual(["first"]);
  });

  it("F37 a spout that is closed tells those who send: nobody receives", async () => {
    const [mesh, home, a, b] = await meshOf(2);
    const [funnel, spout] = mesh.pipe<string>(home, { highWaterBytes: 1 });
    const [into, from] = [travelled(funnel, home, a!), travelled(spout, home, b!)];
    await into.send("x");
    const waits = outcome(into.send("y"));
    await settled();
    await from.close();
    expect(await waits).toEqual(["CLOSED", expect.stringContaining("nobody takes what is sent")]);
    expect(await outcome(into.send("z"))).toEqual(["CLOSED", expect.stringContaining("nobody takes what is sent")]);
    expect(await outcome(from.receive())).toEqual(["CLOSED", "spout.receive: this spout was closed"]);
    expect(await outcome(spout.receive())).toEqual(["CLOSED", closedWords]);
  });

  it("F37 with receivers: 2 one spout may be closed: what it had not taken goes to the other", async () => {
    const [mesh, home, a, b] = await meshOf(2);
    const [funnel, spout] = mesh.pipe<number>(home, { receivers: 2 });
    const [one, two] = [travelled(spout, home, a!), travelled(spout, home, b!)];
    for (let i = 0; i < 40; i++) await funnel.send(i);
    await funnel.close();
    const first: number[] = [];
    for await (const n of one) {
      first.push(n);
      if (first.length === 10) await one.close();
    }
    const rest = await Array.fromAsync(two);
    expect([...first, ...rest]).toEqual(Array.from({ length: 40 }, (_, i) => i));
  });

  it("F37 what a loop had ahead is back in the pipe when it is left", async () => {
    const [mesh, home, a, b] = await meshOf(2);
    const [funnel, spout] = mesh.pipe<number>(home);
    const [one, two] = [travelled(spout, home, a!), travelled(spout, home, b!)];
    for (let i = 0; i < 60; i++) await funnel.send(i);
    await funnel.close();
    const first: number[] = [];
    for await (const n of one) {
      first.push(n);
      if (first.length === 30) break;
    }
    expect([...first, ...(await Array.fromAsync(two))]).toEqual(Array.from({ length: 60 }, (_, i) => i));
    expect(await outcome(one.receive())).toEqual(["CLOSED", closedWords]);
  });

  it("F37 a spout that is closed ends its own calls", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [, spout] = mesh.pipe<string>(home, { receivers: 2 });
    const from = travelled(spout, home, a!);
    const waits = [outcome(from.receive()), outcome(Array.fromAsync(from)), outcome(from.tryReceive())];
    await settled();
    await from.close();
    const closed = ["CLOSED", "spout.receive: this spout was closed"];
    expect(await Promise.all(waits)).toEqual([closed, ["kept", ""], ["kept", "undefined"]]);
    expect(await outcome(spout.receive({ timeoutMs: 1, signal: AbortSignal.abort() }))).toEqual([
      "CANCELLED",
      expect.any(String),
    ]);
  });

  it("F37 `await using` closes", async () => {
    const [mesh, home] = await meshOf(0);
    const [funnel, spout] = mesh.pipe<number>(home);
    {
      await using f = funnel;
      await f.send(1);
    }
    expect(await Array.fromAsync(spout)).toEqual([1]);
    const [more, out] = mesh.pipe<number>(home);
    {
      await using _ = out;
    }
    expect((await outcome(more.send(1)))[0]).toBe("CLOSED");
  });

  it("F37 ends that arrive after all is over say so, and nothing is kept of them", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<number>(home);
    await funnel.close();
    const [into, from] = [travelled(funnel, home, a!), travelled(spout, home, a!)];
    expect((await outcome(from.receive()))[0]).toBe("CLOSED");
    expect(await Array.fromAsync(from)).toEqual([]);
    await into.send(1); // unconfirmed
    expect(await outcome(into.flush())).toEqual(["CLOSED", expect.any(String)]);
    expect((await outcome(into.send(2)))[0]).toBe("CLOSED");
    await travelled(funnel, home, a!).close();
    await settled();
    for (const { pipes } of [home, a!]) expect(pipes.counts).toMatchObject({ pipes: 0, receivers: 0 });
  });
});

describe("a process that is gone", () => {
  const gone = (what: string) => [
    "LINK_CLOSED",
    `${what}: the process of the pipe, here/1, is gone, and what was in the pipe with it`,
  ];

  it.each([true, false])(
    "F32 the home: every call that waits fails and names it, later ones too (direct link: %s)",
    async (direct) => {
      const [mesh, home, a, b] = await meshOf(2, direct);
      const [funnel, spout] = mesh.pipe<string>(home, { highWaterBytes: 1 });
      const [into, from] = [travelled(funnel, home, a!), travelled(spout, home, b!)];
      await into.send("fills it");
      const waits = [into.send("waits"), into.flush(), travelled(mesh.pipe(home)[1], home, b!).receive()].map(outcome);
      const loop = outcome(Array.fromAsync(travelled(mesh.pipe(home)[1] as Spout<string>, home, b!)));
      await from.receive();
      await settled();
      const blocked = outcome(into.send("waits longer"));
      await settled();
      mesh.kill(home);
      await settled();
      expect(await blocked).toEqual(gone("funnel.send"));
      expect(await outcome(into.send("later"))).toEqual(gone("funnel.send"));
      expect(await outcome(into.flush())).toEqual(gone("funnel.flush"));
      expect((await outcome(into.close()))[0]).toBe("LINK_CLOSED");
      expect(await waits[2]).toEqual(gone("spout.receive"));
      expect(await loop).toEqual(gone("spout.receive"));
      expect((await outcome(from.receive()))[0]).toBe("LINK_CLOSED");
      expect((await outcome(from.tryReceive()))[0]).toBe("LINK_CLOSED");
    },
  );

  it("F32 flush after the home is gone: nothing confirms what was sent", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel] = mesh.pipe<string>(home);
    const into = travelled(funnel, home, a!);
    await into.send("x");
    mesh.kill(home);
    await settled();
    expect(await outcome(into.flush())).toEqual(gone("funnel.flush"));
  });

  it.each([true, false])(
    "F37 a receiver that dies while it waits takes nothing of what comes later (direct link: %s)",
    async (direct) => {
      const [mesh, home, a, b] = await meshOf(2, direct);
      const [funnel, spout] = mesh.pipe<number>(home);
      const [dies, lives] = [travelled(spout, home, a!), travelled(spout, home, b!)];
      void dies.receive().catch(() => {});
      void (async () => {
        for await (const _ of dies);
      })().catch(() => {});
      await settled();
      mesh.kill(a!);
      await settled();
      for (let i = 0; i < 20; i++) await funnel.send(i);
      await funnel.close();
      expect(await Array.fromAsync(lives)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    },
  );

  it("F37 a sender that dies leaves what it sent, and the pipe open", async () => {
    const [mesh, home, a] = await meshOf(1);
    const [funnel, spout] = mesh.pipe<number>(home);
    const dies = travelled(funnel, home, a!);
    await dies.send(1);
    await dies.flush();
    mesh.kill(a!);
    await settled();
    await funnel.send(2);
    await funnel.close();
    expect(await Array.fromAsync(spout)).toEqual([1, 2]);
  });

  it("F37 a thousand pipes that were used and closed leave nothing behind", async () => {
    const [mesh, home, a] = await meshOf(1);
    for (let i = 0; i < 1_000; i++) {
      const [funnel, spout] = mesh.pipe<number>(home);
      const from = travelled(spout, home, a!);
      await funnel.send(i);
      void funnel.close();
      expect(await Array.fromAsync(from)).toEqual([i]);
    }
    const none = { pipes: 0, senders: 0, receivers: 0 };
    await until(() => [home, a!].every(({ pipes }) => JSON.stringify(pipes.counts) === JSON.stringify(none)), {
      what: "all to be forgotten",
    });
  });
});
