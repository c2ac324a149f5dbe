// The calls to the C library by which connections are made; see system-connect.ts for why. Linux only.
import { dlopen, type Pointer, read } from "bun:ffi";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { getSystemErrorName } from "node:util";
import type { TcpAddress } from "./address.ts";

// Part of Linux's ABI, the same on every architecture Bun runs on.
const AF_INET = 2;
const AF_INET6 = 10;
/** SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC */
const STREAM = 1 | 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const POLLOUT = 4;
const EINPROGRESS = 115;
const EINVAL = 22;

const SYMBOLS = {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  inet_pton: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

type Libc = ReturnType<typeof dlopen<typeof SYMBOLS>>["symbols"];

let opened: Libc | false | undefined;

function libc(): Libc | false {
  opened ??= process.platform === "linux" && open();
  return opened;
}

function open(): Libc | false {
  const arch = process.arch === "arm64" ? "aarch64" : "x86_64";
  for (const name of ["libc.so.6", `libc.musl-${arch}.so.1`]) {
    try {
      return dlopen(name, SYMBOLS).symbols;
    } catch {
      // not this C library
    }
  }
  return false;
}

export const canConnectBySystem = (): boolean => libc() !== false;

function required(): Libc {
  const c = libc();
  if (c) return c;
  throw new Error("there is no C library to connect by: ask canConnectBySystem first");
}

/** Begins a connection; returns its descriptor. Throws an Error with the system's `code`. */
export function beginConnect(target: TcpAddress): number {
  const c = required();
  const family = isIP(target.host.split("%")[0]!) === 6 ? AF_INET6 : AF_INET;
  const address = socketAddress(c, family, target);
  const fd = c.socket(family, STREAM, 0);
  if (fd < 0) throw systemError(errnoOf(c));
  if (c.connect(fd, address, address.length) === 0) return fd;
  const errno = errnoOf(c);
  if (errno === EINPROGRESS) return fd;
  c.close(fd);
  throw systemError(errno);
}

/** Whether the connection is made. Throws an Error with the system's `code` when it failed. */
export function isConnected(fd: number): boolean {
  const c = required();
  const asked = new DataView(new ArrayBuffer(8)); // struct pollfd
  asked.setInt32(0, fd, true);
  asked.setInt16(4, POLLOUT, true);
  if (c.poll(new Uint8Array(asked.buffer), 1, 0) === 0) return false;
  const error = new Int32Array(1);
  c.getsockopt(fd, SOL_SOCKET, SO_ERROR, error, new Uint32Array([4]));
  if (error[0] !== 0) throw systemError(error[0]!);
  return true;
}

/** Closes a descriptor that nobody else has taken. */
export function closeDescriptor(fd: number): void {
  required().close(fd);
}

function errnoOf(c: Libc): number {
  return read.i32(c.__errno_location() as Pointer, 0);
}

function systemError(errno: number): Error {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`connect ${code}`), { code, errno, syscall: "connect" });
}

/** struct sockaddr_in or sockaddr_in6. */
function socketAddress(c: Libc, family: number, { host, port }: TcpAddress): Uint8Array {
  const [ip = "", zone] = host.split("%");
  const bytes = new Uint8Array(family === AF_INET6 ? 28 : 16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, family, true);
  view.setUint16(2, port);
  const ipBytes = bytes.subarray(family === AF_INET6 ? 8 : 4);
  if (c.inet_pton(family, new TextEncoder().encode(`${ip}\0`), ipBytes) !== 1) throw systemError(EINVAL);
  if (zone !== undefined) view.setUint32(24, scopeOf(zone), true);
  return bytes;
}

/** The number of the interface that an address such as "fe80::1%eth0" names. */
function scopeOf(zone: string): number {
  if (/^\d+$/.test(zone)) return Number(zone);
  const scoped = networkInterfaces()[zone]?.find((one) => one.family === "IPv6" && one.scopeid);
  return scoped?.family === "IPv6" ? (scoped.scopeid ?? 0) : 0;
}
