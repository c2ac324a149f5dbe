import { describe, expect, it } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import { FailedRounds, type FailedRoundsOptions } from "../../core/session/failed-rounds.ts";
import { DEFAULT_TIMING } from "../../core/session/machine/liveness.ts";
import { Refusal } from "../../core/session/refusal.ts";
import { Whereabouts } from "../../core/session/whereabouts.ts";

const A = "tcp://10.0.0.1:7450";
const B = "tcp://10.0.0.2:7450";
const WAY = "relay://10.0.0.3:9";

const silent = (address: string) => ({ address, error: new MeshError("TIMEOUT", "it did not answer") });
const closed = (address: string) => ({
  address,
  error: new MeshError("UNREACHABLE", "connection refused", { cause: { code: "ECONNREFUSED" } }),
});
const refused = (address: string) => ({ address, error: new Refusal("IDENTITY", "another node listens there") });

const NEW = { isConfirmed: false, phase: "connecting", forMs: 0 } as const;
const LOST = { isConfirmed: true, phase: "detached", forMs: 0 } as const;

function rounds(options: Partial<FailedRoundsOptions> = {}) {
  const where = new Whereabouts([A, B], { clock: new ManualClock(), waysTo: (known) => known });
  where.addWays([WAY]);
  const told: MeshError[] = [];
  const failed = new FailedRounds({
    ...{ peer: () => "node b", where, timing: DEFAULT_TIMING, tryOnce: false, isNodeKnown: true },
    refused: (error) => void told.push(error),
    ...options,
  });
  return { where, told, failed };
}

describe("FailedRounds", () => {
  it("never ends the search for a new peer by itself, and names what it tried last", () => {
    const { failed } = rounds();
    for (const round of [[silent(A)], [closed(A), closed(B)], []]) expect(failed.judge(round, NEW)).toBeUndefined();
    const { message } = failed.unreachable();
    expect(message).toBe(
      `node b cannot be reached within 10000 ms: tried ${A} (connection refused); ${B} (connection refused)`,
    );
    failed.forget();
    expect(failed.unreachable().message).toContain("no address of it is known, and it did not dial itself");
  });

  it("once: a round that nobody answered is tried again, one that somebody refused is not", () => {
    const patient = rounds({ tryOnce: true }).failed;
    expect(patient.judge([silent(A), silent(B)], NEW)).toBeUndefined();
    expect(patient.judge([silent(A), silent(B)], NEW)).toMatchObject({ code: "UNREACHABLE" });
    expect(rounds({ tryOnce: true }).failed.judge([silent(A), closed(B)], NEW)).toMatchObject({ code: "UNREACHABLE" });
    expect(rounds({ tryOnce: true }).failed.judge([], NEW)).toMatchObject({ code: "UNREACHABLE" });
  });

  it("another node at an address ends the search for whoever answers there, not that for a certain one", () => {
    const { error } = refused(A);
    expect(rounds({ isNodeKnown: false }).failed.judge([{ address: A, error }], NEW)).toBe(error);
    expect(rounds().failed.judge([{ address: A, error }], NEW)).toBeUndefined();
  });

  it("tells of each refusal once, and again when the peer was reached in between", () => {
    const { failed, told } = rounds();
    for (let i = 0; i < 3; i++) failed.judge([refused(A), silent(B)], NEW);
    expect(told).toHaveLength(1);
    failed.forget();
    failed.judge([refused(A)], NEW);
    expect(told).toHaveLength(2);
  });

  it("a peer is lost when nothing of it listens any more where it was reached", () => {
    const { failed, where } = rounds();
    where.reached(A);
    expect(failed.judge([closed(A), silent(B)], LOST)).toBeUndefined();
    expect(failed.judge([closed(A), closed(B)], { ...LOST, phase: "suspect" })).toBeUndefined();
    expect(failed.judge([refused(A), closed(B), silent(WAY)], LOST)).toMatchObject({
      code: "LINK_CLOSED",
      message: `node b is lost: nothing of it listens on ${A}, ${B}, ${WAY} any more`,
    });
  });

  it("a peer that always dialed itself has a second to come back, and longer while there are ways to it", () => {
    const { failed } = rounds();
    const all = [closed(A), closed(B)];
    expect(failed.judge(all, { ...LOST, forMs: 999 })).toBeUndefined();
    expect(failed.judge([...all, closed(WAY)], { ...LOST, forMs: 1_000 })).toBeUndefined();
    expect(failed.judge(all, { ...LOST, forMs: 1_000 })).toMatchObject({ code: "LINK_CLOSED" });
  });
});
