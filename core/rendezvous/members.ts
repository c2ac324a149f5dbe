// The nodes that asked a rendezvous where to learn their outside addresses: under what name and key each of them echoes, and
// from where it did. Pure bookkeeping, gone with their sessions.
import { randomBytes } from "node:crypto";
import { ECHO_ID_BYTES } from "./echo.ts";

/** Outside addresses of a node that are remembered: its networks, in both families, and some that it has left. */
const HOSTS = 16;
/** Questions of a node that are remembered, so that nobody repeats them from elsewhere. */
const TRANSACTIONS = 512;

export class Member {
  readonly node: number;
  /** Nobody else knows it, so what names it is worth a look. */
  readonly id: Uint8Array = randomBytes(ECHO_ID_BYTES);
  readonly key: Uint8Array = randomBytes(32);
  /** IP addresses that its signed packets came from, the latest last. */
  readonly hosts = new Set<string>();
  readonly #transactions = new Map<string, string>();

  constructor(node: number) {
    this.node = node;
  }

  /** It sent a signed packet. False when another address sent the same before: somebody repeats what he overheard. */
  sentFrom(host: string, port: number, transaction: Uint8Array): boolean {
    const from = `${host} ${port}`;
    const first = remember(this.#transactions, latin1(transaction), from, TRANSACTIONS);
    if (first !== from) return false;
    this.hosts.delete(host);
    this.hosts.add(host);
    if (this.hosts.size > HOSTS) this.hosts.delete(this.hosts.values().next().value!);
    return true;
  }
}

export class Members {
  readonly #byNode = new Map<number, Member>();
  readonly #byId = new Map<string, Member>();

  get size(): number {
    return this.#byNode.size;
  }

  /** The member that node is; from now on, if it was none. */
  of(node: number): Member {
    const known = this.#byNode.get(node);
    if (known) return known;
    const member = new Member(node);
    this.#byNode.set(node, member);
    this.#byId.set(latin1(member.id), member);
    return member;
  }

  get(node: number): Member | undefined {
    return this.#byNode.get(node);
  }

  named(id: Uint8Array): Member | undefined {
    return this.#byId.get(latin1(id));
  }

  /** Its session is over: what it signed is worth nothing any more. */
  gone(node: number): void {
    const member = this.#byNode.get(node);
    if (!member) return;
    this.#byNode.delete(node);
    this.#byId.delete(latin1(member.id));
  }
}

/** The value that was there, or is now; of more than `most` the oldest is forgotten. */
function remember(map: Map<string, string>, key: string, value: string, most: number): string {
  const known = map.get(key);
  if (known !== undefined) return known;
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value!);
  return value;
}

/** As a key of maps: one character for each byte. */
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}
