// What pins a CA for somebody who knows nothing of the mesh yet.
import { createHash } from "node:crypto";

/** 192 bits: nobody can make another certificate with the same ones. */
export const PIN_BYTES = 24;

/** The first PIN_BYTES of the SHA-256 of the CA's certificate. */
export function pinOf(caDer: Uint8Array): Uint8Array {
  return createHash("sha256").update(caDer).digest().subarray(0, PIN_BYTES);
}
