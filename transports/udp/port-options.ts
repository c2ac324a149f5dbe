// Options of a UDP port that the runtime sets otherwise and gives no way to change: by the C library, on the port's descriptor. Linux only.
import { dlopen } from "bun:ffi";
import { readdirSync } from "node:fs";

// Part of Linux's ABI, the same on every architecture Bun runs on.
const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_ERROR = 4;
const SOCK_DGRAM = 2;
const IPPROTO_IP = 0;
const IP_RECVERR = 11;
const IPPROTO_IPV6 = 41;
const IPV6_RECVERR = 25;
/** struct sockaddr_in6, the longer one. The port is at the same place in both. */
const ADDRESS_BYTES = 28;
const PORT_OFFSET = 2;

const SYMBOLS = {
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
} as const;

type Libc = ReturnType<typeof dlopen<typeof SYMBOLS>>["symbols"];

let opened: Libc | undefined;

/**
 * Makes a bound port deaf to what routers and hosts say of single packets (ICMP). The runtime asks for it, and then takes the next send
 * for failed, to whomever it goes, and sends nothing at all for a second: one peer whose process has ended would hold up all others.
 * https://github.com/oven-sh/bun/pull/35255
 */
export function deafenToIcmp(port: number): void {
  if (process.platform !== "linux") return;
  opened ??= open();
  for (const fd of opened ? descriptorsOf(opened, port) : []) {
    set(opened!, fd, IPPROTO_IP, IP_RECVERR, 0);
    set(opened!, fd, IPPROTO_IPV6, IPV6_RECVERR, 0); // fails on a port of IPv4, which needs it not
    get(opened!, fd, SO_ERROR); // takes out what has come already
  }
}

function open(): Libc | undefined {
  const arch = process.arch === "arm64" ? "aarch64" : "x86_64";
  for (const name of ["libc.so.6", `libc.musl-${arch}.so.1`]) {
    try {
      return dlopen(name, SYMBOLS).symbols;
    } catch {
      // not this C library
    }
  }
  return undefined;
}

/** Of this process; of several addresses, all. */
function descriptorsOf(c: Libc, port: number): number[] {
  const bytes = new Uint8Array(ADDRESS_BYTES);
  const address = new DataView(bytes.buffer);
  return readdirSync("/proc/self/fd")
    .map(Number)
    .filter((fd) => {
      const isSocket = c.getsockname(fd, bytes, new Uint32Array([ADDRESS_BYTES])) === 0;
      return isSocket && address.getUint16(PORT_OFFSET) === port && get(c, fd, SO_TYPE) === SOCK_DGRAM;
    });
}

function get(c: Libc, fd: number, option: number): number {
  const value = new Int32Array(1);
  c.getsockopt(fd, SOL_SOCKET, option, value, new Uint32Array([4]));
  return value[0]!;
}

function set(c: Libc, fd: number, level: number, option: number, value: number): void {
  c.setsockopt(fd, level, option, new Int32Array([value]), 4);
}
