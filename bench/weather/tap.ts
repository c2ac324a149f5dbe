// Ends of a wire that this program holds: Linux's TAP devices, whose packets are read and written as those of a file, by the C library.
import { dlopen, ptr } from "bun:ffi";

// Part of Linux's ABI.
const O_RDWR_NONBLOCK = 0o2 | 0o4000;
const TUNSETIFF = 0x400454ca;
const IFF_TAP = 0x2;
const IFF_NO_PI = 0x1000;
const IFREQ_BYTES = 40;
const IFREQ_FLAGS = 16;
const POLLIN = 1;
const POLLFD_BYTES = 8;

const { symbols: c } = dlopen("libc.so.6", {
  open: { args: ["cstring", "i32"], returns: "i32" },
  ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
  read: { args: ["i32", "ptr", "u64"], returns: "i32" },
  write: { args: ["i32", "ptr", "u64"], returns: "i32" },
  ppoll: { args: ["ptr", "u64", "ptr", "ptr"], returns: "i32" },
});

/** A new device in the namespace of this process, gone with it. Returns its descriptor. */
export function openTap(name: string): number {
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(name);
  request.writeUInt16LE(IFF_TAP | IFF_NO_PI, IFREQ_FLAGS);
  const fd = c.open(Buffer.from("/dev/net/tun\0"), O_RDWR_NONBLOCK);
  if (fd < 0) throw new Error("/dev/net/tun cannot be opened: only root may, where the kernel has it");
  if (c.ioctl(fd, TUNSETIFF, request) < 0) throw new Error(`no TAP device ${name} can be made`);
  return fd;
}

/** Pieces of one memory, each for a packet. */
export class Places {
  readonly #bytes: Uint8Array;
  readonly #placeBytes: number;
  readonly #address: number;
  readonly #free: number[];

  constructor(count: number, placeBytes: number) {
    this.#bytes = new Uint8Array(count * placeBytes);
    this.#placeBytes = placeBytes;
    this.#address = ptr(this.#bytes);
    this.#free = Array.from({ length: count }, (_, place) => place);
  }

  /** Undefined when all are taken. */
  take(): number | undefined {
    return this.#free.pop();
  }

  give(place: number): void {
    this.#free.push(place);
  }

  /** Returns the size of the packet; negative when there is none. */
  read(fd: number, place: number): number {
    return c.read(fd, this.#addressOf(place), this.#placeBytes);
  }

  write(fd: number, place: number, size: number): void {
    c.write(fd, this.#addressOf(place), size);
  }

  copy(from: number, to: number): void {
    this.#bytes.copyWithin(to * this.#placeBytes, from * this.#placeBytes, (from + 1) * this.#placeBytes);
  }

  uint16At(place: number, offset: number): number {
    const at = place * this.#placeBytes + offset;
    return this.#bytes[at]! * 256 + this.#bytes[at + 1]!;
  }

  #addressOf(place: number) {
    return (this.#address + place * this.#placeBytes) as ReturnType<typeof ptr>;
  }
}

/** Returns what waits until one of the descriptors can be read, or for so long, and tells which can be. */
export function waiterFor(fds: readonly number[]): (timeoutMs: number) => boolean[] {
  const polled = Buffer.alloc(fds.length * POLLFD_BYTES);
  for (const [i, fd] of fds.entries()) {
    polled.writeInt32LE(fd, i * POLLFD_BYTES);
    polled.writeInt16LE(POLLIN, i * POLLFD_BYTES + 4);
  }
  const time = new BigInt64Array(2);
  return (timeoutMs) => {
    time[0] = BigInt(Math.floor(timeoutMs / 1_000));
    time[1] = BigInt(Math.floor((timeoutMs % 1_000) * 1e6));
    c.ppoll(polled, fds.length, time, null);
    return fds.map((_, i) => polled.readInt16LE(i * POLLFD_BYTES + 6) !== 0);
  };
}
