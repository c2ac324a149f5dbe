// What this side shows in TLS, and what it asks of the other: TLS 1.3, certificates on both sides, no tickets.
import type { Credentials } from "../../core/identity/identity.ts";
import { DNS_NAME } from "../../core/identity/names.ts";
import { certificatesIn, derOf } from "../../core/identity/pem.ts";
import type { LinkCertificates } from "../../core/transport.ts";

const TLS_1_3 = 0x0304;
/** SSL_OP_NO_TICKET: a ticket would let somebody in again without a certificate. */
const NO_TICKETS = 0x4000;

/** As Bun takes them; its types lack the version. */
export type TlsOptions = Bun.TLSOptions & { minVersion: number };

/** Credentials made ready. */
export interface TlsSide {
  readonly server: TlsOptions;
  readonly client: TlsOptions;
  /** The leaf as DER; empty for a stranger, who has none. */
  readonly ownCertificate: Uint8Array;
}

/** `rejectUnauthorized` is said in every case: left out, NODE_TLS_REJECT_UNAUTHORIZED decides. */
const COMMON = { minVersion: TLS_1_3, secureOptions: NO_TICKETS };
const STRANGER = { ...COMMON, serverName: DNS_NAME, rejectUnauthorized: false } satisfies TlsOptions;

/**
 * Makes credentials ready, once for as long as they stay the same: `credentials` is asked for each connection, so
 * that renewed ones count from the next connection on.
 */
export class TlsSides {
  readonly #credentials: () => Credentials | undefined;
  readonly #admitsStrangers: boolean;
  #last: { credentials: Credentials; side: TlsSide } | undefined;

  constructor(credentials: () => Credentials | undefined, admitsStrangers: boolean) {
    this.#credentials = credentials;
    this.#admitsStrangers = admitsStrangers;
  }

  /** Undefined for a stranger. */
  current(): TlsSide | undefined {
    const credentials = this.#credentials();
    if (!credentials) return undefined;
    if (!this.#last || !isSame(credentials, this.#last.credentials)) {
      this.#last = { credentials: { ...credentials }, side: sideOf(credentials, this.#admitsStrangers) };
    }
    return this.#last.side;
  }

  get admitsStrangers(): boolean {
    return this.#admitsStrangers;
  }
}

/** How a client dials that has no certificate and checks none: whoever uses it must check what it was shown. */
export const strangerSide: Pick<TlsSide, "client" | "ownCertificate"> = {
  client: STRANGER,
  ownCertificate: new Uint8Array(0),
};

/** What TLS showed on both ends of `socket`, once its handshake has ended. */
export function certificatesOf(socket: Bun.Socket<unknown>, side: Pick<TlsSide, "ownCertificate">): LinkCertificates {
  const isKnown = socket.authorized || side.ownCertificate.length === 0;
  const peerCertificate = isKnown ? socket.getPeerX509Certificate()?.raw : undefined;
  return { ownCertificate: side.ownCertificate, peerCertificate };
}

function sideOf({ caPem, certificatePem, keyPem }: Credentials, admitsStrangers: boolean): TlsSide {
  const shown = { ...COMMON, ca: certificatesIn(caPem), cert: certificatePem, key: keyPem };
  return {
    server: { ...shown, requestCert: true, rejectUnauthorized: !admitsStrangers },
    client: { ...shown, serverName: DNS_NAME, rejectUnauthorized: true },
    ownCertificate: derOf(certificatesIn(certificatePem)[0] ?? ""),
  };
}

function isSame(a: Credentials, b: Credentials): boolean {
  return a.certificatePem === b.certificatePem && a.caPem === b.caPem && a.keyPem === b.keyPem;
}
