// What this side shows in TLS, and what it asks of the other: TLS 1.3, certificates on both sides, no tickets.
import { MeshError } from "../../core/errors.ts";
import type { Credentials } from "../../core/identity/identity.ts";
import { DNS_NAME } from "../../core/identity/names.ts";
import { certificatesIn, derOf } from "../../core/identity/pem.ts";
import type { LinkCertificates } from "../../core/transport.ts";

const TLS_1_3 = 0x0304;
/** SSL_OP_NO_TICKET: a ticket would let somebody in again without a certificate. */
const NO_TICKETS = 0x4000;

/** As Bun takes them; its types lack the version. */
export type TlsOptions = Bun.TLSOptions & { minVersion: number };

/** What dialing needs. */
export interface DialingSide {
  readonly client: TlsOptions;
  /** The leaf as DER; empty for a stranger, who has none. */
  readonly ownCertificate: Uint8Array;
  /** Takes any server; whoever uses the link must check what it was shown. */
  readonly trustsAny: boolean;
}

/** Credentials made ready. */
export interface TlsSide extends DialingSide {
  readonly server: TlsOptions;
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

/** How a client dials that has no certificate and checks none. */
export const strangerSide: DialingSide = { client: STRANGER, ownCertificate: new Uint8Array(0), trustsAny: true };

/** What TLS showed on both ends of `socket`, once its handshake has ended. A peer that is not trusted showed nothing. */
export function certificatesOf(socket: Bun.Socket<unknown>, side: DialingSide): LinkCertificates {
  const isTrusted = socket.authorized || side.trustsAny;
  const peerCertificate = isTrusted ? socket.getPeerX509Certificate()?.raw : undefined;
  return { ownCertificate: side.ownCertificate, peerCertificate };
}

function sideOf({ caPem, certificatePem, keyPem }: Credentials, admitsStrangers: boolean): TlsSide {
  const [leaf] = certificatesIn(certificatePem);
  const cas = certificatesIn(caPem);
  if (leaf === undefined || cas.length === 0) {
    throw new MeshError("AUTHENTICATION", "this side's own certificate or CA is not in PEM: join again");
  }
  const shown = { ...COMMON, ca: cas, cert: certificatePem, key: keyPem };
  return {
    server: { ...shown, requestCert: true, rejectUnauthorized: !admitsStrangers },
    client: { ...shown, serverName: DNS_NAME, rejectUnauthorized: true },
    ownCertificate: derOf(leaf),
    trustsAny: false,
  };
}

function isSame(a: Credentials, b: Credentials): boolean {
  return a.certificatePem === b.certificatePem && a.caPem === b.caPem && a.keyPem === b.keyPem;
}
