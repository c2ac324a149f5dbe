// What is said on a stream through a tether before TLS begins on it: one line each way.
//
//   host   -> tether   mesh-tunnel 1 tcp://10.0.0.1:7450        be connected to that address, please
//   tether -> host     ok                                       from here on the bytes are those of that connection
//                  or  no ECONNREFUSED why, in words            and the stream ends
//
// PROTOCOL.md, "Tunnels". The code after `no` is the system's, or "-".
import { isMeshError, MeshError } from "../errors.ts";

/** No line is longer. */
export const TUNNEL_LINE_LIMIT_BYTES = 1_024;

const ASK = /^mesh-tunnel 1 (tcp:\/\/[\x21-\x7e]{1,300})$/;
const REFUSAL = /^no ([A-Z0-9_]{1,32}|-) (.*)$/;

export function askLine(address: string): string {
  return `mesh-tunnel 1 ${address}\n`;
}

/** The address asked for. Throws PROTOCOL. */
export function readAsk(line: string): string {
  const address = ASK.exec(line)?.[1];
  if (address === undefined)
    throw new MeshError("PROTOCOL", "what came through the tunnel does not ask for an address");
  return address;
}

export const ACCEPTED_LINE = "ok\n";

export function refusalLine(error: unknown): string {
  const { cause, message } = error as { cause?: { code?: unknown }; message?: unknown };
  const code = isMeshError(error) && cause?.code !== undefined ? cause.code : (error as { code?: unknown }).code;
  const word = typeof code === "string" && /^[A-Z0-9_]{1,32}$/.test(code) ? code : "-";
  return `no ${word} ${printable(String(message)).slice(0, 500)}\n`;
}

/** Throws what the tether answered when that is not yes: an Error whose `code` is the system's, where there is one. */
export function readAnswer(line: string): void {
  if (line === "ok") return;
  const [, code, words] = REFUSAL.exec(line) ?? [];
  if (code === undefined) throw new MeshError("PROTOCOL", "what answers in the tunnel is no tether of mesh");
  throw Object.assign(new Error(printable(words ?? "")), code === "-" ? {} : { code });
}

/** Gathers bytes up to the end of a line. */
export class LineReader {
  #bytes = Buffer.alloc(0);

  /** The first line and what followed it, once it is complete. Throws PROTOCOL when it is too long. */
  push(bytes: Uint8Array): { line: string; rest: Uint8Array } | undefined {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    const end = this.#bytes.indexOf(10);
    if (end === -1 ? this.#bytes.length < TUNNEL_LINE_LIMIT_BYTES : end < TUNNEL_LINE_LIMIT_BYTES) {
      if (end === -1) return undefined;
      return { line: this.#bytes.toString("latin1", 0, end), rest: this.#bytes.subarray(end + 1) };
    }
    throw new MeshError("PROTOCOL", "a line in the tunnel has no end");
  }
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?");
}
