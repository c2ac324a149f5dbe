// A place at a relay: "tcprelay://203.0.113.9:42001?token=<32 hex digits>". What is sent there after the token comes out at whoever
// has the other token of the pair. A node makes such addresses for itself and tells them to nobody.
import { MeshError } from "../../core/errors.ts";
import { type IpAddress, parseIpAddress } from "../ip-address.ts";

export interface RelayPlace {
  to: IpAddress;
  /** 16 bytes: the first that are sent there. */
  token: Uint8Array;
}

const FORM = /^(tcprelay:\/\/[^?]*)\?token=([0-9a-f]{32})$/;

/** Throws UNREACHABLE for what is none. */
export function parseRelayPlace(text: string): RelayPlace {
  const [, address, token] = FORM.exec(text) ?? [];
  if (address !== undefined && token !== undefined)
    return { to: parseIpAddress("tcprelay", address), token: Uint8Array.fromHex(token) };
  const shown = JSON.stringify(withoutToken(text));
  throw new MeshError("UNREACHABLE", `${shown} is no place at a relay: write tcprelay://HOST:PORT?token=32 HEX DIGITS`);
}

/** For people: who knows the token can take the place. */
export function withoutToken(text: string): string {
  return text.split("?")[0]!;
}
