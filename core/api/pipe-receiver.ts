// What one process receives from a pipe: what it asked the home for, what came, and who waits for it.
// All spouts of the process for the same pipe share it.
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { WaitOptions } from "./node-view.ts";
import { AHEAD_BYTES, type Pull, type Withdrawn } from "./pipe-home.ts";
import { isGone } from "./pipe-sender.ts";
import { Wait } from "./pipe-wait.ts";
import { Fifo } from "./queue-fifo.ts";
import { InOrder } from "./queue-order.ts";

/** The way from the pipe's home to a receiving process. */
export interface ReceiverLink {
  /** Who the home is, for messages: "gpu1/2". */
  readonly home: string;
  decode(bytes: Uint8Array): unknown;
  /** As PipeHome.pull. */
  pull(pull: Pull): void;
  /** As PipeHome.watch; rejects when the home is gone. */
  watch(): Promise<number>;
  /** As PipeHome.withdraw; rejects when the home is gone. */
  withdraw(epoch: number): Promise<Withdrawn>;
  /** As PipeHome.giveBack; rejects when the home is gone. */
  giveBack(values: [number: number, bytes: Uint8Array][], closes: boolean): Promise<void>;
  /** Nothing more will be asked: the home may forget this process. */
  leave(): void;
  /** Keeps the process from ending while somebody waits; each hold needs one release. */
  hold(): void;
  release(): void;
}

/** What a call gets at the end of the pipe; and what `tryReceive` gets when there is nothing now. */
export const END = Symbol("end");
export const NOTHING = Symbol("nothing");

/** A loop asks for so many values ahead of what it takes. */
const AHEAD_VALUES = 16;

interface Waiting {
  /** The spout that waits. */
  owner: object;
  /** Does not wait, but for the answer whether there is something now. */
  isTry: boolean;
  wait: Wait<unknown>;
}

interface Ready {
  number: number;
  bytes: Uint8Array;
}

export class PipeReceiver {
  readonly #link: ReceiverLink;
  readonly #clock: Clock;
  readonly #arriving = new InOrder<Uint8Array>();
  readonly #ready = new Fifo<Ready>();
  readonly #waiting = new Fifo<Waiting>();
  #epoch = 0;
  #granted = 0;
  #taken = 0;
  #toldTaken = 0;
  #untoldBytes = 0;
  /** Loops under way. */
  #readers = 0;
  /** How many values loops ask for: grows when they are faster than the way there and back. */
  #window = 1;
  #watching = false;
  #holding = false;
  #draining: Promise<void> | undefined;
  /** At the end of the pipe: how many values this process is sent in all. */
  #total: number | undefined;
  #broken: MeshError | undefined;
  #wakeDrain: (() => void) | undefined;

  constructor(link: ReceiverLink, clock: Clock) {
    this.#link = link;
    this.#clock = clock;
  }

  /** Whether the last value was taken, so that this object is of no more use. */
  get isOver(): boolean {
    return this.#total !== undefined && this.#arriving.count >= this.#total && this.#ready.length === 0;
  }

  /** What can be had without waiting: a value, END after the last, or NOTHING. Throws LINK_CLOSED. */
  takeNow(): unknown {
    const next = this.#waiting.length === 0 ? this.#ready.shift() : undefined;
    if (next) return this.#takeReady(next);
    if (this.isOver) return END;
    if (this.#broken) throw this.#gone("spout.receive", this.#broken);
    return NOTHING;
  }

  /** After `takeNow` gave NOTHING: waits for the next value or END. Rejects with LINK_CLOSED, TIMEOUT or CANCELLED. */
  async take(owner: object, what: string, options: WaitOptions): Promise<unknown> {
    if (this.#readers > 0) this.#window = Math.min(AHEAD_VALUES, 2 * this.#window);
    const wait = new Wait<unknown>(what, options, this.#clock, () => this.#gaveUp());
    this.#waiting.push({ owner, isTry: false, wait });
    this.#hold();
    this.#pull();
    if (!this.#watching) void this.#watch();
    return await wait.promise;
  }

  /** As `takeNow`, but looks into the pipe too. */
  async tryTake(owner: object): Promise<unknown> {
    const known = this.takeNow();
    if (known !== NOTHING || this.#isWanted) return known;
    const wait = new Wait<unknown>("spout.tryReceive", {}, this.#clock, () => {});
    this.#waiting.push({ owner, isTry: true, wait });
    this.#pull();
    void this.#drain();
    return await wait.promise;
  }

  /** A loop begins; call what it returns when it ends: resolves when what it had not taken is back in the pipe. */
  read(): () => Promise<void> {
    this.#readers++;
    return async () => {
      if (--this.#readers === 0) this.#window = 1;
      await this.#settle();
    };
  }

  /** A spout is closed: its calls get END, and the home hears of it. Rejects with LINK_CLOSED. */
  async close(owner: object): Promise<void> {
    for (const { wait, owner: other } of [...this.#waiting]) if (other === owner) wait.resolve(END);
    this.#waiting.removeIf(({ wait }) => wait.settled);
    await this.#settle();
    if (this.#broken || this.isOver) return;
    try {
      await this.#link.giveBack([], true);
    } catch (error) {
      if (isGone(error)) throw this.#gone("spout.close", error);
      throw error;
    }
  }

  /** Takes the `number`th value the home sent here. The bytes are kept. */
  arrived(number: number, bytes: Uint8Array): void {
    this.#arriving.put(number, bytes, (value, at) => this.#accept({ number: at, bytes: value }));
  }

  /** Whether somebody here takes what comes. */
  get #isWanted(): boolean {
    return this.#readers > 0 || [...this.#waiting].some(({ isTry }) => !isTry);
  }

  #takeReady({ bytes }: Ready): unknown {
    this.#taken++;
    this.#untoldBytes += bytes.length;
    if (this.isOver) this.#link.leave();
    else this.#pull();
    return this.#link.decode(bytes);
  }

  #accept(ready: Ready): void {
    this.#ready.push(ready);
    this.#serve();
    this.#wakeDrain?.();
  }

  #serve(): void {
    while (this.#ready.length > 0 && this.#waiting.length > 0) {
      const { wait } = this.#waiting.shift()!;
      try {
        wait.resolve(this.#takeReady(this.#ready.shift()!));
      } catch (error) {
        wait.reject(error); // its bytes were no value here
      }
    }
    if (this.isOver) this.#answerAll(END);
    this.#hold();
  }

  /** Asks for as many values as are wanted here, not for each alone where several are wanted. */
  #pull(): void {
    const ahead = this.#granted - this.#arriving.count + this.#ready.length;
    const loops = this.#readers > 0 ? this.#window : 0;
    const target = Math.max(loops, this.#waiting.length);
    const asks = !this.#draining && ahead < target && (ahead * 2 <= target || ahead < this.#waiting.length);
    if (asks) this.#granted += target - ahead;
    else if (this.#untoldBytes < AHEAD_BYTES / 4 || this.#taken === this.#toldTaken) return;
    this.#toldTaken = this.#taken;
    this.#untoldBytes = 0;
    this.#link.pull({ epoch: this.#epoch, granted: this.#granted, taken: this.#taken });
  }

  async #watch(): Promise<void> {
    this.#watching = true;
    try {
      this.#end(await this.#link.watch());
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#watching = false;
    }
  }

  /** A negative total: the home has forgotten the pipe, so all of it came. */
  #end(total: number): void {
    this.#total = total < 0 ? this.#arriving.count : total;
    this.#granted = this.#total;
    if (this.isOver) this.#link.leave();
    this.#serve();
    this.#wakeDrain?.();
  }

  #failed(error: unknown): void {
    this.#broken = error as MeshError;
    for (const { wait } of [...this.#waiting]) wait.reject(this.#gone("spout.receive", error));
    this.#waiting.clear();
    this.#hold();
    this.#wakeDrain?.();
  }

  #gaveUp(): void {
    this.#waiting.removeIf(({ wait }) => wait.settled);
    void this.#settle();
  }

  /** Nothing is asked for, or kept, that nobody here waits for: others may. */
  async #settle(): Promise<void> {
    this.#hold();
    if (!this.#isWanted && (this.#granted > this.#arriving.count || this.#ready.length > 0)) await this.#drain();
  }

  /** Asks the home to send no more, waits for what is on its way, and gives back what nobody took. */
  #drain(): Promise<void> {
    this.#draining ??= this.#drainOnce().finally(() => {
      this.#draining = undefined;
      if (this.#waiting.length > 0) this.#pull();
    });
    return this.#draining;
  }

  async #drainOnce(): Promise<void> {
    if (this.#broken) return;
    try {
      const { sent, over } = await this.#link.withdraw(++this.#epoch);
      if (sent >= 0) this.#granted = sent;
      while (this.#arriving.count < sent && !this.#broken) {
        await new Promise<void>((resolve) => {
          this.#wakeDrain = resolve;
        });
      }
      if (over) this.#end(sent);
      if (!this.#isWanted) await this.#giveBack();
    } catch (error) {
      this.#failed(error);
    }
    for (const { wait, isTry } of [...this.#waiting]) if (isTry) wait.resolve(NOTHING);
    this.#waiting.removeIf(({ wait }) => wait.settled);
  }

  async #giveBack(): Promise<void> {
    const values = [...this.#ready].map(({ number, bytes }): [number, Uint8Array] => [number, bytes]);
    if (values.length === 0) return;
    this.#ready.clear();
    this.#taken += values.length;
    this.#total = undefined; // what is given back is in the pipe again
    await this.#link.giveBack(values, false);
  }

  #answerAll(answer: symbol): void {
    for (const { wait } of [...this.#waiting]) wait.resolve(answer);
    this.#waiting.clear();
  }

  #hold(): void {
    const holds = this.#waiting.length > 0;
    if (holds === this.#holding) return;
    this.#holding = holds;
    if (holds) this.#link.hold();
    else this.#link.release();
  }

  #gone(what: string, cause: unknown): MeshError {
    return new MeshError(
      "LINK_CLOSED",
      `${what}: the process of the pipe, ${this.#link.home}, is gone, and what was in the pipe with it`,
      { cause },
    );
  }
}
