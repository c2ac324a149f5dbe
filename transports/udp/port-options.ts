// Options of a UDP port that the runtime sets otherwise and gives no way to change: by the C library, on the port's descriptor. Linux only.
import { dlopen, ptr } from "bun:ffi";
import { readdirSync } from "node:fs";

// Part of Linux's ABI, the same on every architecture Bun runs on.
const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_ERROR = 4;
const SO_ATTACH_FILTER = 26;
const SO_DETACH_FILTER = 27;
const SOCK_DGRAM = 2;
const IPPROTO_IP = 0;
const IP_RECVERR = 11;
const IPPROTO_IPV6 = 41;
const IPV6_RECVERR = 25;
/** struct sockaddr_in6, the longer one. The port is at the same place in both. */
const ADDRESS_BYTES = 28;
const PORT_OFFSET = 2;

const UDP_HEADER_BYTES = 8;
/** struct sock_fprog. */
const PROGRAM_HEADER_BYTES = 16;
/** A server answers no shorter first packet (RFC 9000, section 14.1). */
const FIRST_PACKET_BYTES = 1_200;

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

/** Lets in only a share, from 0 to 1, of the packets that may begin a QUIC connection: the kernel drops the others, at random. */
export function admit(port: number, share: number): void {
  if (process.platform !== "linux") return;
  opened ??= open();
  const program = filterFor(share);
  for (const fd of opened ? descriptorsOf(opened, port) : []) {
    if (share === 1) set(opened!, fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
    else opened!.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, PROGRAM_HEADER_BYTES);
  }
}

/**
 * A program for the kernel's packet filter (classic BPF). Before it how many instructions it has (u16), and at 8 where they are; each
 * has 8 bytes: what to do (u16), how many to skip if so and if not (u8 each), a number (u32). It sees a packet from its UDP header on.
 */
function filterFor(share: number): Uint8Array {
  const list: [does: number, ifSo: number, ifNot: number, number: number][] = [
    [0x30, 0, 0, UDP_HEADER_BYTES], // load the first byte after that header
    [0x35, 0, 4, 0x80], // at least this: QUIC's long header, that of handshakes
    [0x80, 0, 0, 0], // load the length
    [0x35, 0, 2, UDP_HEADER_BYTES + FIRST_PACKET_BYTES], // at least this
    [0x20, 0, 0, 0xfffff038], // load a random number
    [0x35, 1, 0, Math.floor(share * 0xffffffff)], // at least this
    [0x06, 0, 0, 0xffffffff], // take it
    [0x06, 0, 0, 0], // drop it
  ];
  const program = new Uint8Array(PROGRAM_HEADER_BYTES + 8 * list.length);
  const view = new DataView(program.buffer);
  view.setUint16(0, list.length, true);
  view.setBigUint64(8, BigInt(ptr(program, PROGRAM_HEADER_BYTES)), true);
  for (const [i, [does, ifSo, ifNot, number]] of list.entries()) {
    const at = PROGRAM_HEADER_BYTES + 8 * i;
    view.setUint16(at, does, true);
    view.setUint8(at + 2, ifSo);
    view.setUint8(at + 3, ifNot);
    view.setUint32(at + 4, number, true);
  }
  return program;
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
