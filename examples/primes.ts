// Counts the primes below a limit, on all cores.
//
//   mesh run examples/primes.ts             up to 5,000,000
//   mesh run examples/primes.ts 1000000
import { args, pool } from "mesh";

const limit = Number(args[0] ?? 5_000_000);
if (!Number.isSafeInteger(limit) || limit < 0) {
  console.error(`usage: primes.ts [LIMIT]; a limit is a whole number, not ${args[0]}`);
  process.exit(2);
}

/** Every number below `limit` lies in exactly one range: [from, to). */
function* ranges(size: number) {
  for (let from = 0; from < limit; from += size) yield [from, Math.min(from + size, limit)] as const;
}

/** Counts the primes in [from, to) with a sieve of that range alone, so that a slot needs little memory. */
function countPrimes([from, to]: readonly [number, number]): number {
  const composite = new Uint8Array(to - from);
  for (let n = 2; n * n < to; n++) {
    const first = Math.max(n * n, Math.ceil(from / n) * n);
    for (let multiple = first; multiple < to; multiple += n) composite[multiple - from] = 1;
  }
  let count = 0;
  for (let n = Math.max(from, 2); n < to; n++) if (composite[n - from] === 0) count++;
  return count;
}

const begun = performance.now();
const counts = await pool().map(countPrimes, ranges(100_000));
const total = counts.reduce((sum, count) => sum + count, 0);
console.log(`${total} primes below ${limit}`);
console.error(`${counts.length} ranges in ${Math.round(performance.now() - begun)} ms`);
