import { expect, it } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { lineLog, sparingLog } from "../../core/log.ts";

it("lineLog: one line for each event, values quoted where they must be, what is undefined left out", () => {
  const lines: string[] = [];
  const log = lineLog(
    (line) => lines.push(line),
    () => new Date(0),
  );
  log.info("job opened", { job: 7, script: "/a b.ts", cause: undefined });
  log.warn("odd", { text: 'a "b"\n', none: "" });
  expect(lines).toEqual([
    '1970-01-01T00:00:00.000Z info job opened job=7 script="/a b.ts"\n',
    '1970-01-01T00:00:00.000Z warn odd text="a \\"b\\"\\n" none=""\n',
  ]);
});

it("sparingLog: so many warnings of an event in a minute, then how many were left out; other events and levels as they come", () => {
  const clock = new ManualClock();
  const seen: unknown[] = [];
  const note = (event: string, fields?: object) => void seen.push([event, fields]);
  const log = sparingLog({ info: note, warn: note, error: note }, clock, 2);
  for (let i = 0; i < 5; i++) log.warn("flood", { i });
  log.warn("other");
  log.error("flood", { i: 9 });
  clock.advance(59_999);
  log.warn("flood", { i: 5 });
  clock.advance(1);
  log.warn("flood", { i: 6 });
  clock.advance(60_000);
  log.warn("flood", { i: 7 });
  expect(seen).toEqual([
    ...[
      ["flood", { i: 0 }],
      ["flood", { i: 1 }],
      ["other", undefined],
      ["flood", { i: 9 }],
    ],
    ...[
      ["flood", { i: 6, leftOut: 4 }],
      ["flood", { i: 7 }],
    ],
  ]);
});
