// Addresses of transports over IP: "tcp://gpu1:7450", "udp://10.0.0.5:7450", "tcp://[fd00::5]:7450".
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { MeshError } from "../core/errors.ts";
import { hostAndPort } from "../core/ip-address.ts";

export interface IpAddress {
  /** A name or an IP address, without brackets. */
  host: string;
  port: number;
}

const FORM = /^([a-z]+):\/\/(?:\[([0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|([\w.-]+)):(\d{1,5})$/;

/** Reads an address of that scheme; port 0 stands for any free one. Throws UNREACHABLE when it is none. */
export function parseIpAddress(scheme: string, text: string): IpAddress {
  const [, found, ipv6, name, digits] = FORM.exec(text) ?? [];
  const host = ipv6 ?? name;
  const port = Number(digits);
  const isRight = host !== undefined && port <= 65_535 && (ipv6 === undefined || isIP(ipv6) === 6);
  if (isRight && found === scheme) return { host, port };
  throw new MeshError(
    "UNREACHABLE",
    `${JSON.stringify(text)} is no ${scheme.toUpperCase()} address: write ${scheme}://HOST:PORT, an IPv6 address in brackets, such as ${scheme}://[::1]:7450`,
  );
}

export function formatIpAddress(scheme: string, { host, port }: IpAddress): string {
  return `${scheme}://${hostAndPort(host, port)}`;
}

/** What to bind for an address: "[::]" stands for all addresses of this machine, also where there is no IPv6. */
export function onThisMachine({ host, port }: IpAddress): IpAddress {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  const isMissing = host === "::" && !all.some(({ family }) => family === "IPv6");
  return { host: isMissing ? "0.0.0.0" : host, port };
}
