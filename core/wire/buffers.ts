// Memory for bytes on their way, used again: a new megabyte costs about as much as sending it. Shared by all of a process.

const KIB = 1024;

/** The second holds a piece of a large message and its headers. */
const POOLS: { sizeBytes: number; keep: number; spare: Uint8Array[] }[] = [
  { sizeBytes: 64 * KIB, keep: 64, spare: [] },
  { sizeBytes: 272 * KIB, keep: 8, spare: [] },
  { sizeBytes: 1088 * KIB, keep: 8, spare: [] },
];

/** Sizes in bytes of what is used again. */
export const BUFFER_SIZES: readonly number[] = POOLS.map(({ sizeBytes }) => sizeBytes);

/** At least so many bytes, of any content. Whoever forgets to give them back loses nothing but time. */
export function takeBuffer(sizeBytes: number): Uint8Array {
  for (const pool of POOLS) {
    if (pool.sizeBytes >= sizeBytes) return pool.spare.pop() ?? new Uint8Array(pool.sizeBytes);
  }
  return new Uint8Array(sizeBytes);
}

/** Gives back what `takeBuffer` returned; nobody may hold a view of it. Other bytes are left alone. */
export function giveBuffer(bytes: Uint8Array): void {
  for (const pool of POOLS) {
    if (bytes.length === pool.sizeBytes && pool.spare.length < pool.keep) pool.spare.push(bytes);
  }
}
