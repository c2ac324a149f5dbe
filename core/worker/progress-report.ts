// Tells the head how long calls go on, for the bar on its terminal.
import type { Run } from "../api/run.ts";
import type { Scheduler } from "../api/scheduler.ts";
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { Progress } from "./control.ts";

const EVERY_MS = 200;
/** Shorter calls show no bar. */
const SHOWN_AFTER_MS = 600;

export class ProgressReport {
  readonly #node: Node;
  readonly #scheduler: Scheduler;
  readonly #head: Address;
  readonly #begun = new WeakMap<Run, number>();
  #shown = false;

  constructor(node: Node, scheduler: Scheduler, head: Address) {
    this.#node = node;
    this.#scheduler = scheduler;
    this.#head = head;
    setInterval(() => this.#look(performance.now()), EVERY_MS).unref();
  }

  #look(now: number): void {
    const run = this.#scheduler.runs.find((each) => !each.isProcess && this.#age(each, now) >= SHOWN_AFTER_MS);
    if (!run && !this.#shown) return;
    this.#shown = run !== undefined;
    this.#node.notify(this.#head, MessageType.progress, run ? progressOf(run, this.#age(run, now)) : null);
  }

  #age(run: Run, now: number): number {
    const begun = this.#begun.get(run) ?? now;
    this.#begun.set(run, begun);
    return now - begun;
  }
}

function progressOf(run: Run, ageMs: number): Progress {
  const done = run.doneCount + run.failedCount;
  return {
    label: run.label,
    done,
    ratePerS: (done * 1_000) / ageMs,
    ...(run.total !== undefined && { total: run.total }),
    running: run.underWay,
    ...(run.failedCount > 0 && { failed: run.failedCount }),
  };
}
