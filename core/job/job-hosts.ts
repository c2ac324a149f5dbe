// The workers a job uses: opens the job on each before its first slot there, and closes it at the end.
import { MeshError } from "../errors.ts";
import type { Node } from "../node/node.ts";
import { MessageType } from "../wire/message-types.ts";
import { type CloseJob, nodeAddress, type OpenJob, type UserGone } from "../worker/control.ts";

/** What a worker may take to write the job's code. */
const OPEN_LIMIT_MS = 20_000;
const CLOSE_LIMIT_MS = 3_000;

export class JobHosts {
  readonly #node: Node;
  readonly #job: () => OpenJob;
  readonly #opening = new Map<number, Promise<void>>();
  readonly #opened = new Set<number>();
  readonly #failed = new Set<number>();
  #isClosing = false;

  /** `job` is asked for when a host is opened: when the job's code is there. */
  constructor(node: Node, job: () => OpenJob) {
    this.#node = node;
    this.#job = job;
  }

  /** Lets the job use a worker; at once when it does already. Rejects with what the worker says, or LINK_CLOSED. */
  open(node: number): Promise<void> {
    const known = this.#opening.get(node);
    if (known !== undefined) return known;
    const opening = this.#open(node);
    this.#opening.set(node, opening);
    opening.then(
      () => {
        this.#opened.add(node);
        this.#failed.delete(node);
      },
      () => this.#opening.delete(node),
    );
    return opening;
  }

  /** Whether the job has slots there, or may have. */
  uses(node: number): boolean {
    return this.#opening.has(node);
  }

  /**
   * A worker is gone, or was never reached: should it come back, the job must be opened there again. Returns whether
   * that is news to the user: the job was to run there, and it is not the next try of one that fails again and again.
   */
  lost(node: number): boolean {
    const wasOpen = this.#opened.delete(node);
    const isNews = this.#opening.delete(node) && (wasOpen || !this.#failed.has(node));
    this.#failed.add(node);
    return isNews && !this.#isClosing; // one that retires leaves as soon as its last job is closed
  }

  /** A process of the job is gone: the workers hear, but the one that told. */
  userGone(gone: UserGone, from: number): void {
    for (const node of this.#opened) {
      if (node !== from) this.#node.notify(nodeAddress(node), MessageType.userGone, gone);
    }
  }

  /** Closes the job everywhere; returns when its slots are gone, or a worker does not answer for 3 s. */
  async close(job: number): Promise<void> {
    this.#isClosing = true;
    const body: CloseJob = { job };
    const closes = [...this.#opened].map((node) =>
      this.#node.request(nodeAddress(node), MessageType.closeJob, body, { timeoutMs: CLOSE_LIMIT_MS }),
    );
    await Promise.allSettled(closes);
    this.#opened.clear();
  }

  async #open(node: number): Promise<void> {
    const job = this.#job();
    try {
      await this.#node.request(nodeAddress(node), MessageType.openJob, job, { timeoutMs: OPEN_LIMIT_MS });
    } catch (cause) {
      if (cause instanceof MeshError && cause.code === "TIMEOUT") {
        throw new MeshError("TIMEOUT", `a worker did not take the job within ${OPEN_LIMIT_MS / 1000} s`, { cause });
      }
      throw cause;
    }
  }
}
