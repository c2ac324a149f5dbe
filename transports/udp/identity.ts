// What this side shows when it is dialed, and whom it trusts when it dials.
import { createPrivateKey, type KeyObject } from "node:crypto";
import { MeshError } from "../../core/errors.ts";
import type { Credentials } from "../../core/identity/identity.ts";
import { DNS_NAME } from "../../core/identity/names.ts";
import { certificatesIn } from "../../core/identity/pem.ts";

/** A certificate and its key, as node:quic takes them. */
export interface ShownIdentity {
  keys: KeyObject[];
  certs: Uint8Array[];
  /** Checks nothing: without it the runtime keeps all public CAs of the world, 0.8 MB, with each port and connection. */
  ca: Uint8Array[];
}

export interface Trust {
  /** The name that the certificate of who answers has. */
  serverName: string;
  /** CAs that may have signed it; undefined trusts anybody, and whoever uses the link checks what it was shown. */
  ca: Uint8Array[] | undefined;
}

export const TRUSTS_ANYBODY: Trust = { serverName: DNS_NAME, ca: undefined };

/** Made ready once for as long as they stay the same; asked for each connection, so that renewed ones count from the next on. */
export class UdpIdentity {
  readonly #credentials: () => Credentials | undefined;
  #last: { of: Credentials; shown: ShownIdentity; trust: Trust } | undefined;

  constructor(credentials: () => Credentials | undefined) {
    this.#credentials = credentials;
  }

  /** Undefined for a stranger. Throws AUTHENTICATION when the credentials cannot be used. */
  current(): { shown: ShownIdentity; trust: Trust } | undefined {
    const credentials = this.#credentials();
    if (!credentials) return undefined;
    if (!this.#last || !isSame(credentials, this.#last.of))
      this.#last = { of: { ...credentials }, ...ready(credentials) };
    return this.#last;
  }
}

function ready({ caPem, certificatePem, keyPem }: Credentials): { shown: ShownIdentity; trust: Trust } {
  const cas = certificatesIn(caPem);
  if (certificatesIn(certificatePem).length === 0 || cas.length === 0) {
    throw new MeshError("AUTHENTICATION", "this side's own certificate or CA is not in PEM: join again");
  }
  const ca = cas.map((pem) => Buffer.from(pem));
  const shown = { keys: [keyOf(keyPem)], certs: [Buffer.from(certificatePem)], ca };
  return { shown, trust: { serverName: DNS_NAME, ca } };
}

function keyOf(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    const why = (cause as Error).message;
    throw new MeshError(
      "AUTHENTICATION",
      `this side's own certificate, key or CA cannot be used (${why}): join again`,
      { cause },
    );
  }
}

function isSame(a: Credentials, b: Credentials): boolean {
  return a.certificatePem === b.certificatePem && a.caPem === b.caPem && a.keyPem === b.keyPem;
}
