/** Uses the CPU for a number of rounds. The same code in every contender that runs JavaScript. */
export function busy(rounds: number): number {
  let x = 0;
  for (let i = 0; i < rounds; i++) x = (x * 31 + i) | 0;
  return x;
}
