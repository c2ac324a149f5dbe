import { expect, it } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { Admission } from "../../core/session/admission.ts";

it("Admission X20: a link that says nothing gives way after 500 ms to one of its address, or of all, that needs its place", () => {
  const clock = new ManualClock();
  const admission = new Admission({ perAddress: 2, inAll: 3 }, clock);
  const yielded: string[] = [];
  const enter = (label: string) => admission.enter(label, () => yielded.push(label)) !== undefined;
  expect([enter("tcp://a:1"), enter("tcp://a:2"), enter("tcp://a:3"), enter("tcp://b:1"), enter("tcp://c:1")]).toEqual([
    ...[true, true, false, true, false],
  ]);
  clock.advance(499);
  expect(enter("tcp://a:4")).toBe(false);
  clock.advance(1);
  expect([enter("tcp://a:5"), enter("tcp://c:2"), enter("tcp://d:1"), enter("tcp://d:2")]).toEqual([
    ...[true, true, true, false],
  ]);
  expect(yielded).toEqual(["tcp://a:1", "tcp://a:2", "tcp://b:1"]);
});

it("Admission: who leaves makes room, once", () => {
  const admission = new Admission({ perAddress: 1, inAll: 1 }, new ManualClock());
  const leave = admission.enter("tcp://a:1", () => {})!;
  leave();
  leave();
  expect(admission.enter("tcp://a:2", () => {})).toBeDefined();
  expect(admission.enter("tcp://a:3", () => {})).toBeUndefined();
});
