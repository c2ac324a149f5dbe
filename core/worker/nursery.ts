// All slots of one node: numbers that are never used twice, and what tells its own children from strays.
import type { Address } from "../wire/message.ts";
import { hasInEnvironment, sweepStrays } from "./process-tree.ts";
import type { SlotProcess } from "./slot-process.ts";

/** What a node must know of a slot it started. */
interface Child {
  process: SlotProcess;
  /** Resolves when all it had to say was read. */
  silent: PromiseWithResolvers<void>;
  connected: boolean;
}

/** How long a dead slot's link may take to end: it is read to its end before anybody hears of the death. */
const SILENCE_LIMIT_MS = 2_000;

export class Nursery {
  readonly #children = new Map<number, Child>();
  /** Process ids that are no strays. Looked at while strays are hunted, so it is one set for good. */
  readonly #own = new Set<number>();
  /** Environment entries of what may leave its parents and go on: a command that is not over. */
  readonly #spared = new Set<string>();
  #nextSlot = 1;

  /** The number of the next slot. */
  takeNumber(): number {
    return this.#nextSlot++;
  }

  add(process: SlotProcess): void {
    this.#children.set(process.slot, { process, silent: Promise.withResolvers(), connected: false });
    this.#own.add(process.pid);
  }

  connected({ slot }: Address): void {
    const child = this.#children.get(slot);
    if (child) child.connected = true;
  }

  isConnected(slot: number): boolean {
    return this.#children.get(slot)?.connected === true;
  }

  /** Its link has ended. */
  disconnected({ slot }: Address): void {
    this.#children.get(slot)?.silent.resolve();
  }

  /** Waits until all was read that a dead slot had said. */
  async silence(slot: number): Promise<void> {
    const child = this.#children.get(slot);
    if (child?.connected) await Promise.race([child.silent.promise, Bun.sleep(SILENCE_LIMIT_MS)]);
  }

  forget(process: SlotProcess): void {
    this.#children.delete(process.slot);
    this.#own.delete(process.pid);
    process.cleanUp();
  }

  /** Another child of this process, that is no slot and no stray either. */
  keep(pid: number): void {
    this.#own.add(pid);
  }

  release(pid: number): void {
    this.#own.delete(pid);
  }

  /** What was started with this entry in its environment is no stray until `sweepMarked`. */
  spare(entry: string): void {
    this.#spared.add(entry);
  }

  /** Ends what was started with this entry in its environment and has left its parents. */
  async sweepMarked(entry: string): Promise<void> {
    this.#spared.delete(entry);
    await sweepStrays(this.#own, (pid) => hasInEnvironment(pid, entry));
  }

  /** Ends what slots that are gone have left behind. */
  async sweep(): Promise<void> {
    const isSpared = (pid: number) => [...this.#spared].some((entry) => hasInEnvironment(pid, entry));
    await sweepStrays(this.#own, (pid) => !isSpared(pid));
  }
}
