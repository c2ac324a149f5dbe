// Waits for a condition instead of for time: the only way a test may wait for another process.

/** Resolves when `condition` is true; throws naming `what` after `timeoutMs` (default 10,000). */
export async function until(
  condition: () => boolean | Promise<boolean>,
  options: { what: string; timeoutMs?: number },
): Promise<void> {
  const end = performance.now() + (options.timeoutMs ?? 10_000);
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited in vain for ${options.what}`);
    await Bun.sleep(2);
  }
}
