// A stand-in for the mesh API that the driver's and the worker's side share: all that it does goes through `run`.

export type Run = (fn: unknown, args: unknown[]) => Promise<unknown>;

export const API_EXPORTS = ["pool", "task", "spawn", "expose", "Process", "pipe", "topic", "describe"];

export function fakeApi(run: Run, describe: (fn: unknown) => unknown): Record<string, unknown> {
  const all = (fn: unknown, lists: unknown[][]) => Promise.all(lists.map((args) => run(fn, args)));
  const pool = () => ({
    map: (fn: unknown, items: Iterable<unknown>) =>
      all(
        fn,
        [...items].map((item) => [item]),
      ),
    starmap: (fn: unknown, lists: unknown[][]) => all(fn, lists),
    async *imap(fn: unknown, items: Iterable<unknown>) {
      for (const item of items) yield await run(fn, [item]);
    },
    submit: (fn: unknown, ...args: unknown[]) => run(fn, args),
    apply: (fn: unknown, args: unknown[]) => run(fn, args),
    async [Symbol.asyncDispose]() {},
    [Symbol.dispose]() {},
  });
  class Process {
    readonly #fn: unknown;
    readonly #args: unknown[];
    constructor(fn: unknown, options: { args?: unknown[] } = {}) {
      this.#fn = fn;
      this.#args = options.args ?? [];
    }
    start = () => run(this.#fn, this.#args);
  }
  return {
    pool,
    Process,
    task: (fn: unknown) => fn,
    expose:
      (fn: unknown) =>
      (...args: unknown[]) =>
        run(fn, args),
    /** Makes an instance elsewhere and calls one method there. */
    spawn: (type: unknown, method: string, ...args: unknown[]) => run(type, [method, ...args]),
    pipe: () => [],
    topic: () => ({ subscribe: (fn: () => unknown) => typeof fn }),
    describe,
  };
}
