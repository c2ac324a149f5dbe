import { describe, expect, it } from "vitest";
import { EchoAsker, type Question } from "../../core/punch/echo-asker.ts";
import { encodeEchoAnswer, readEchoRequest } from "../../core/rendezvous/echo.ts";

const near = { host: "192.0.2.1", ports: [1, 2], id: new Uint8Array(16).fill(1), key: new Uint8Array(32).fill(1) };
const far = { host: "192.0.2.9", ports: [1, 2], id: new Uint8Array(16).fill(2), key: new Uint8Array(32).fill(2) };

const LIMITS = { limitMs: 1_500, own: ["10.0.0.5:5"] };

function questions(...places: (typeof near)[]): Question[] {
  return places.flatMap((place, i) =>
    place.ports.map((port) => {
      return { place, port, fromOtherPort: false, transaction: new Uint8Array(8).fill(16 * i + port) };
    }),
  );
}

function answerTo({ place, transaction }: Question, port = 61_000, key = place.key): Uint8Array {
  return encodeEchoAnswer({ transaction, host: "198.51.100.7", port, fromOtherPort: false }, key);
}

/** When it sends, and how much, if nothing comes. */
function schedule(asker: EchoAsker): [number, number][] {
  const sent: [number, number][] = [];
  for (let now = 0; !asker.isDone(now); now = asker.wakeAt) {
    const packets = asker.tick(now);
    if (packets.length > 0) sent.push([now, packets.length]);
  }
  return sent;
}

describe("F25 EchoAsker", () => {
  it("asks again and again until the limit", () => {
    const sent = schedule(new EchoAsker(questions(near), { ...LIMITS, limitMs: 500 }, 0));
    expect(sent).toEqual([0, 50, 150, 250, 350, 450].map((at) => [at, 2]));
  });

  it("signs what it asks for the place that it asks", () => {
    const [first] = new EchoAsker(questions(near), LIMITS, 0).tick(0);
    expect(first!.to).toBe("192.0.2.1:1");
    expect(readEchoRequest(first!.bytes)).toMatchObject({ id: near.id, fromOtherPort: false });
  });

  it("is done when all have answered, and asks those alone that have not", () => {
    const asked = questions(near);
    const asker = new EchoAsker(asked, LIMITS, 0);
    asker.tick(0);
    asker.received(answerTo(asked[0]!), 20);
    expect(asker.isDone(20)).toBe(false);
    expect(asker.tick(50).map(({ to }) => to)).toEqual(["192.0.2.1:2"]);
    asker.received(answerTo(asked[1]!), 70);
    expect(asker.isDone(70)).toBe(true);
    expect(asker.answers).toEqual([
      { by: "192.0.2.1:1", seen: "198.51.100.7:61000" },
      { by: "192.0.2.1:2", seen: "198.51.100.7:61000" },
    ]);
    expect(asker.roundTripMs).toBe(20);
  });

  it.each([
    ["little where it sees a NAT", { host: "198.51.100.7", port: 61_000 }, 20],
    ["longer where it sees this machine as it is", { host: "10.0.0.5", port: 5 }, 100],
    ["longer where it sees IPv6", { host: "2001:db8::5", port: 5 }, 100],
  ])("waits for the other places once one has told all: %s", (_name, seen, graceMs) => {
    const asked = questions(near, far);
    const asker = new EchoAsker(asked, LIMITS, 0);
    asker.tick(0);
    for (const { transaction } of asked.slice(0, 2))
      asker.received(encodeEchoAnswer({ transaction, ...seen, fromOtherPort: false }, near.key), 20);
    expect(asker.isDone(20 + graceMs - 1)).toBe(false);
    expect(asker.isDone(20 + graceMs)).toBe(true);
  });

  it("believes nobody else", () => {
    const asked = questions(near, far);
    const asker = new EchoAsker(asked, LIMITS, 0);
    asker.tick(0);
    asker.received(answerTo(asked[0]!, 1, far.key), 20);
    asker.received(new Uint8Array(56), 20);
    asker.received(new Uint8Array(0), 20);
    const stale = encodeEchoAnswer(
      { transaction: new Uint8Array(8).fill(99), host: "1.2.3.4", port: 1, fromOtherPort: false },
      near.key,
    );
    asker.received(stale, 20);
    expect(asker.answers).toEqual([]);
  });

  it("keeps the first answer to a question", () => {
    const asked = questions(near);
    const asker = new EchoAsker(asked, LIMITS, 0);
    asker.tick(0);
    asker.received(answerTo(asked[0]!, 1), 20);
    asker.received(answerTo(asked[0]!, 2), 30);
    expect(asker.answers).toEqual([{ by: "192.0.2.1:1", seen: "198.51.100.7:1" }]);
  });

  it("has nothing to do where nobody is to be asked", () => {
    expect(new EchoAsker([], LIMITS, 0).isDone(0)).toBe(true);
  });
});
