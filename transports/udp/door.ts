// How far a port is open to newcomers. Until a handshake ends, its address is what somebody wrote on a packet, and may be that of a
// victim: the runtime answers twice, 1.04 times the bytes each, keeps 35 KB for as long as a handshake may take, and cannot be told to
// ask for a proof first (Retry, RFC 9000, section 8.1.2). So only a few get that while nobody waits for others; then a share, so small
// that no more goes out than comes in; in the end none. Who is turned away tries again by himself, after 150, 450 and 1,050 ms.

/** Handshakes under way from which on only a share is let in. The nodes of a mesh that all dial at once are soon done. */
const AJAR_AT = 128;
const AJAR_SHARE = 0.4;
/** And none at all: 18 MB. */
const SHUT_AT = 512;

export class Door {
  readonly #letIn: (share: number) => void;
  #share = 1;

  /** `letIn` gets the share, from 0 to 1, when it changes. */
  constructor(letIn: (share: number) => void) {
    this.#letIn = letIn;
  }

  /** Hears how many handshakes are under way. */
  counted(handshakes: number): void {
    const share = this.#shareFor(handshakes);
    if (share === this.#share) return;
    this.#share = share;
    this.#letIn(share);
  }

  /** It opens later than it closes, not to swing with each packet. */
  #shareFor(handshakes: number): number {
    if (handshakes >= (this.#share === 0 ? SHUT_AT / 2 : SHUT_AT)) return 0;
    return handshakes >= (this.#share < 1 ? AJAR_AT / 2 : AJAR_AT) ? AJAR_SHARE : 1;
  }
}
