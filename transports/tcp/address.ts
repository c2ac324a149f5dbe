// Addresses of this transport: "tcp://gpu1:7450", "tcp://10.0.0.5:7450", "tcp://[fd00::5]:7450".
import { formatIpAddress, type IpAddress, parseIpAddress } from "../ip-address.ts";

export type TcpAddress = IpAddress;

/** Reads an address; port 0 stands for any free one. Throws UNREACHABLE when it is none. */
export function parseTcpAddress(text: string): TcpAddress {
  return parseIpAddress("tcp", text);
}

export function formatTcpAddress(address: TcpAddress): string {
  return formatIpAddress("tcp", address);
}
