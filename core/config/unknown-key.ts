// What is said of a key that mesh.toml does not have.
import { nearest } from "../nearest.ts";
import type { Problem } from "./problems.ts";

/** Makes the problem of an unknown key, with the nearest of the keys that `knownKeys` allows at its place. */
export function unknownKey(knownKeys: (path: readonly PropertyKey[]) => string[]) {
  return (parent: (string | number)[], key: string): Problem => {
    const known = knownKeys(parent);
    const near = nearest(key, known);
    const advice = near === undefined ? `there are ${known.join(", ")}` : `did you mean \`${near}\`?`;
    return { path: [...parent, key], at: "key", message: `unknown key: ${advice}` };
  };
}
