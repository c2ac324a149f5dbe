// What became of each host, in words, as JSON, and as an exit status.
import type { MeshError } from "../../core/errors.ts";
import type { HostOutcome } from "../../core/fleet/fleet.ts";
import type { FleetHost } from "../../core/fleet/hosts.ts";
import { bytesWords } from "../amounts.ts";
import { EXIT, exitStatusOf } from "../exit.ts";
import { type Colour, type TableOptions, table } from "../table.ts";

const COLOURS: Record<HostOutcome["outcome"], Colour | undefined> = {
  started: "green",
  replaced: "green",
  unchanged: "dim",
  stopped: "green",
  absent: "dim",
  failed: "red",
};

/** 0 when none failed, 3 when some did; when all did, and for one reason, the status of that. */
export function statusOfOutcomes(outcomes: readonly { error?: MeshError }[]): number {
  const failures = outcomes.flatMap(({ error }) => error ?? []);
  if (failures.length === 0) return EXIT.ok;
  const statuses = new Set(failures.map(exitStatusOf));
  return failures.length === outcomes.length && statuses.size === 1 ? [...statuses][0]! : EXIT.partly;
}

/** A line for each host, failures last and in full. */
export function outcomeLines(
  outcomes: readonly HostOutcome[],
  { reasonFor }: { reasonFor(host: FleetHost, error: MeshError): string },
  options: TableOptions,
): string[] {
  const { compare } = new Intl.Collator("en", { numeric: true });
  const sorted = outcomes.toSorted((a, b) => compare(a.host.name, b.host.name));
  const rows = table(
    sorted,
    [
      { title: "HOST", rank: 0, text: ({ host }) => host.name },
      { title: "OUTCOME", rank: 0, text: ({ outcome }) => outcome, colour: ({ outcome }) => COLOURS[outcome] },
      {
        title: "SENT",
        rank: 1,
        align: "right",
        text: ({ sentBytes }) => (sentBytes > 0 ? bytesWords(sentBytes) : "-"),
      },
    ],
    options,
  );
  const failures = sorted.filter(({ error }) => error !== undefined);
  return [...rows, ...failures.map(({ host, error }) => `${host.name} failed: ${reasonFor(host, error!)}`)];
}

export function outcomesJson(outcomes: readonly HostOutcome[]): string {
  const hosts = outcomes.map(({ host, outcome, sentBytes, removed, error }) => ({
    name: host.name,
    outcome,
    sentBytes,
    removed,
    error: error ? { code: error.code, message: error.message } : null,
  }));
  return JSON.stringify({ hosts });
}
