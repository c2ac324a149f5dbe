// A reference to a value that some process of the job put: it travels, the value comes when it is asked for.
import { HANDLE, type Handle, type HandleWire } from "../wire/travel.ts";
import type { WaitOptions } from "./node-view.ts";
import { asThrown, checkWait, Wait } from "./pipe-wait.ts";
import type { PutService, RefPlace } from "./put-service.ts";

export const REF = "ref";

export type RefFields = [owner: number, slot: number, id: number, sizeBytes: number, ownerName: string];

/** Stands for a value that was put. Made by `put`, or arrived from another process. */
export class Ref<T> implements Disposable, Handle {
  readonly #service: PutService;
  readonly #place: RefPlace;

  /** @internal */
  constructor(service: PutService, place: RefPlace) {
    this.#service = service;
    this.#place = place;
  }

  /** Bytes of the value as it travels. */
  get sizeBytes(): number {
    return this.#place.sizeBytes;
  }

  /** In the process that put it: bytes sent so far, to all hosts together; 0 elsewhere. */
  get sentBytes(): number {
    return this.#service.sentBytes(this.#place);
  }

  /**
   * The value. The first process of a host that asks fetches it, the others of that host read its copy; each decodes it once
   * and keeps it: all who ask in one process get the same object, so do not change it. Rejects with LINK_CLOSED when the
   * process that put it is gone, CLOSED when it was released, TIMEOUT or CANCELLED.
   */
  async get(options: WaitOptions = {}): Promise<T> {
    try {
      checkWait("ref.get", options);
      const wait = new Wait<T>("ref.get", options, this.#service.clock, () => {});
      this.#service.value(this.#place).then(
        (value) => wait.settled || wait.resolve(value as T),
        (error) => wait.settled || wait.reject(error),
      );
      return await wait.promise;
    } catch (error) {
      throw asThrown(error);
    }
  }

  /**
   * In the process that put it: forgets the value; the copies in other processes go soon after, and who asks then gets
   * CLOSED. Elsewhere: forgets what was decoded in this process alone. Safe to call again.
   */
  release(): void {
    this.#service.release(this.#place);
  }

  /** Releases it. */
  [Symbol.dispose](): void {
    this.release();
  }

  /** @internal */
  [HANDLE](): HandleWire {
    const { owner, id, sizeBytes, ownerName } = this.#place;
    const fields: RefFields = [owner.node, owner.slot, id, sizeBytes, ownerName];
    return [REF, fields];
  }
}
