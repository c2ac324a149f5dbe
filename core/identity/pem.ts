// Certificates as text and as bytes.

// The body cannot hold a dash, so the search is linear.
const BLOCK = /-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** The certificates in `text`, each as PEM with a line end; what stands between them is skipped. */
export function certificatesIn(text: string): string[] {
  return [...text.matchAll(BLOCK)].map(([block]) => `${block}\n`);
}

/** The bytes of one certificate in PEM. */
export function derOf(pem: string): Uint8Array {
  return Buffer.from(pem.replace(/-----[^-]+-----/g, ""), "base64");
}
