// Hosts to which the way was lost a moment ago: whatever the mesh says of them, jobs are better off elsewhere for a while.

/** How long one is left alone, unless the mesh says that it is back. */
const PAUSE_MS = 10_000;

export class LostHosts {
  readonly #mayReturn: () => void;
  readonly #pauses = new Map<number, NodeJS.Timeout>();
  #forgivesUntil = Number.NEGATIVE_INFINITY;

  /** `mayReturn` is called when the time of one is over. */
  constructor(mayReturn: () => void) {
    this.#mayReturn = mayReturn;
  }

  /** Those that may be used. */
  without<Host extends { node: number }>(hosts: readonly Host[]): Host[] {
    return hosts.filter(({ node }) => !this.#pauses.has(node));
  }

  add(node: number): void {
    clearTimeout(this.#pauses.get(node));
    const pauseMs = performance.now() < this.#forgivesUntil ? 0 : PAUSE_MS;
    this.#pauses.set(
      node,
      setTimeout(() => this.#return(node), pauseMs),
    );
  }

  /** It is back, and who cares knows. */
  delete(node: number): void {
    clearTimeout(this.#pauses.get(node));
    this.#pauses.delete(node);
  }

  /** This process stood still: what it lost over that may be used again at once. */
  forgive(): void {
    this.#forgivesUntil = performance.now() + PAUSE_MS;
    for (const node of [...this.#pauses.keys()]) this.#return(node);
  }

  /** No more will be heard of any. */
  close(): void {
    for (const node of [...this.#pauses.keys()]) this.delete(node);
  }

  #return(node: number): void {
    this.delete(node);
    this.#mayReturn();
  }
}
