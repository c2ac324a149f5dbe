// The limits, retries and questions that the hosts of one command share.
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../../core/clock.ts";
import { MeshError } from "../../../core/errors.ts";
import { Dialing, DroppedLogin, retryDelayMs } from "../../../plugins/ssh/dialing.ts";
import { SharedJumps } from "../../../plugins/ssh/shared-jumps.ts";
import type { SshConnection } from "../../../plugins/ssh/ssh-connection.ts";
import { Answers, failure } from "./support.ts";

/** Lets all that is due happen. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** A login that waits to be told how it ends. */
class Held {
  under = 0;
  most = 0;
  readonly #ends: ((error?: Error) => void)[] = [];

  readonly login = (): Promise<string> => {
    this.most = Math.max(this.most, ++this.under);
    return new Promise((resolve, reject) => {
      this.#ends.push((error) => {
        this.under--;
        if (error) reject(error);
        else resolve("in");
      });
    });
  };

  endOne(error?: Error): void {
    this.#ends.shift()!(error);
  }
}

test("retryDelayMs doubles, and is spread over its upper half", () => {
  const rows = [1, 2, 3, 4].map((drops) =>
    [retryDelayMs(drops, () => 0), retryDelayMs(drops, () => 0.999)].map(Math.round),
  );
  expect(rows).toEqual([
    [125, 250],
    [250, 500],
    [500, 1000],
    [1000, 1999],
  ]);
});

describe("Dialing.attempt", () => {
  test("keeps to its limit, in order", async () => {
    const dialing = new Dialing({ parallel: 2 });
    const held = new Held();
    const all = Array.from({ length: 5 }, (_, i) => dialing.attempt(`place ${i}`, "host", held.login));
    for (let i = 0; i < 5; i++) {
      await settle();
      expect(held.under).toBe(Math.min(2, 5 - i));
      held.endOne();
    }
    expect(await Promise.all(all)).toEqual(Array(5).fill("in"));
    expect(held.most).toBe(2);
  });

  test("tries again after a drop when its time has come, 5 times in all", async () => {
    const clock = new ManualClock();
    const dialing = new Dialing({ clock, random: () => 0 });
    let tries = 0;
    const login = async () => {
      tries++;
      throw new DroppedLogin("reset");
    };
    const message = failure("UNREACHABLE", dialing.attempt("place", "alice@host", login));
    for (const [due, waitMs] of [125, 250, 500, 1000].entries()) {
      await settle();
      clock.advance(waitMs - 1);
      await settle();
      expect(tries).toBe(due + 1);
      clock.advance(1);
    }
    expect(await message).toContain("alice@host hung up 5 times before the login: reset");
    expect([tries, dialing.drops]).toEqual([5, 5]);
  });

  test("other errors are final", async () => {
    let tries = 0;
    const login = async () => {
      tries++;
      throw new MeshError("AUTHENTICATION", "no");
    };
    await failure("AUTHENTICATION", new Dialing().attempt("place", "host", login));
    expect(tries).toBe(1);
  });

  test("a place that drops logins gets fewer at once from then on, others do not", async () => {
    const clock = new ManualClock();
    const dialing = new Dialing({ clock, random: () => 0 });
    const [busy, other] = [new Held(), new Held()];
    const logins = Array.from({ length: 4 }, () => dialing.attempt("busy", "host", busy.login));
    await settle();
    expect(busy.under).toBe(4);
    for (let i = 0; i < 3; i++) busy.endOne(new DroppedLogin("MaxStartups"));
    await settle();
    clock.advance(125);
    await settle();
    expect(busy.under).toBe(1);
    const others = Array.from({ length: 4 }, () => dialing.attempt("other", "host", other.login));
    await settle();
    expect(other.under).toBe(4);
    busy.most = busy.under;
    for (let i = 0; i < 4; i++) {
      busy.endOne();
      other.endOne();
      await settle();
    }
    await Promise.all([...logins, ...others]);
    expect(busy.most).toBe(1);
  });

  test("given up while it waits for its turn or for its next try", async () => {
    const dialing = new Dialing({ parallel: 1, clock: new ManualClock() });
    const held = new Held();
    const first = dialing.attempt("place", "host", held.login);
    const stop = new AbortController();
    const second = failure("CANCELLED", dialing.attempt("place", "host", held.login, stop.signal));
    stop.abort();
    await second;
    held.endOne(new DroppedLogin("reset"));
    await settle();
    const third = dialing.attempt("place", "host", held.login);
    await settle();
    held.endOne();
    expect(await third).toBe("in");
    void first;
  });
});

describe("Dialing.trusts", () => {
  test("asks once about all, when nothing that could bring more is under way", async () => {
    const dialing = new Dialing();
    const person = new Answers({ yes: true });
    const held = new Held();
    const login = dialing.attempt("place", "host", held.login);
    const [a, b] = [dialing.trusts(person, "a with key 1"), dialing.trusts(person, "b with key 2")];
    await settle();
    expect(person.questions).toEqual([]);
    held.endOne();
    expect(await Promise.all([a, b, login])).toEqual([true, true, "in"]);
    expect(person.questions).toEqual([
      "Nobody here knows these 2 hosts yet:\n  a with key 1\n  b with key 2\nTrust them all?",
    ]);
    expect(await dialing.trusts(person, "c with key 3")).toBe(true);
    expect(person.questions[1]).toBe("Nobody here knows c with key 3 yet. Trust it?");
  });

  test("who gives up is not asked about; a question that fails is a no", async () => {
    const dialing = new Dialing();
    const held = new Held();
    const login = dialing.attempt("place", "host", held.login);
    const stop = new AbortController();
    const person = new Answers({ yes: true });
    const gone = failure("CANCELLED", dialing.trusts(person, "a", stop.signal));
    const stays = dialing.trusts(person, "b");
    stop.abort();
    await gone;
    held.endOne();
    expect([await stays, await login]).toEqual([true, "in"]);
    expect(person.questions).toEqual(["Nobody here knows b yet. Trust it?"]);
    const broken = { confirm: () => Promise.reject(new Error("no terminal")), secret: async () => undefined };
    expect(await dialing.trusts(broken, "c")).toBe(false);
  });
});

describe("SharedJumps", () => {
  function fake() {
    const closing = Promise.withResolvers<undefined>();
    let ends = 0;
    const connection = {
      closed: closing.promise,
      async [Symbol.asyncDispose]() {
        ends++;
        closing.resolve(undefined);
      },
    } as unknown as SshConnection;
    return { connection, breaks: () => closing.resolve(undefined), ends: () => ends };
  }

  test("one connection for all who want it at a time, ended with its last user", async () => {
    const jumps = new SharedJumps();
    const { connection, ends } = fake();
    let dials = 0;
    const dial = async () => {
      dials++;
      return connection;
    };
    const [a, b] = await Promise.all([jumps.lease("jump", dial), jumps.lease("jump", dial)]);
    a.release();
    a.release();
    await settle();
    expect([dials, ends()]).toEqual([1, 0]);
    b.release();
    await settle();
    expect(ends()).toBe(1);
    (await jumps.lease("jump", dial)).release();
    expect(dials).toBe(2);
  });

  test("one that broke is dialed again; a dial that fails fails for all and is not kept", async () => {
    const jumps = new SharedJumps();
    const first = fake();
    await jumps.lease("jump", async () => first.connection);
    first.breaks();
    await settle();
    const second = fake();
    expect((await jumps.lease("jump", async () => second.connection)).connection).toBe(second.connection);
    const broken = async () => {
      throw new MeshError("UNREACHABLE", "no way");
    };
    await Promise.all([
      failure("UNREACHABLE", jumps.lease("other", broken)),
      failure("UNREACHABLE", jumps.lease("other", broken)),
    ]);
    expect((await jumps.lease("other", async () => second.connection)).connection).toBe(second.connection);
  });

  test("the dial is given up when all who wanted it have, and not before", async () => {
    const jumps = new SharedJumps();
    const [one, two] = [new AbortController(), new AbortController()];
    let isGivenUp = false;
    const dial = (signal: AbortSignal) =>
      new Promise<SshConnection>((_, reject) => {
        signal.addEventListener("abort", () => {
          isGivenUp = true;
          reject(new MeshError("CANCELLED", "given up"));
        });
      });
    const leases = [one, two].map(({ signal }) => jumps.lease("jump", dial, signal).catch((error: unknown) => error));
    one.abort(new MeshError("CANCELLED", "first"));
    expect(await leases[0]).toMatchObject({ code: "CANCELLED" });
    expect(isGivenUp).toBe(false);
    two.abort(new MeshError("CANCELLED", "second"));
    expect(await leases[1]).toMatchObject({ code: "CANCELLED" });
    expect(isGivenUp).toBe(true);
  });
});
