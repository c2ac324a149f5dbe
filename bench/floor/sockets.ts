// The floor of a pool: two processes, Unix sockets, length-prefixed CBOR, a window of messages under way, written by
// hand with nothing around it.
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Decoder } from "cbor-x/decode";
import { Encoder } from "cbor-x/encode";

const COUNT = 100_000;
const WINDOW = 1024; // as mesh's AHEAD_CHUNKS
const encoder = new Encoder({ useRecords: false });
const decoder = new Decoder({ useRecords: false });

/** Cuts frames out of what comes, and gathers what is sent during one event. */
class Wire {
  #held = Buffer.alloc(0);
  #out = Buffer.alloc(1 << 20);
  #used = 0;

  read(bytes: Buffer, frame: (body: Buffer) => void): void {
    const all = this.#held.length > 0 ? Buffer.concat([this.#held, bytes]) : bytes;
    let at = 0;
    while (all.length - at >= 4) {
      const end = at + 4 + all.readUInt32BE(at);
      if (end > all.length) break;
      frame(all.subarray(at + 4, end));
      at = end;
    }
    this.#held = Buffer.from(all.subarray(at));
  }

  add(value: unknown): void {
    const body = encoder.encode(value);
    this.#out.writeUInt32BE(body.length, this.#used);
    this.#out.set(body, this.#used + 4);
    this.#used += 4 + body.length;
  }

  flush(socket: Bun.Socket<Wire>): void {
    if (this.#used > 0) socket.write(this.#out.subarray(0, this.#used));
    this.#used = 0;
  }
}

async function child(path: string): Promise<void> {
  await Bun.connect<Wire>({
    unix: path,
    data: new Wire(),
    socket: {
      data(socket, bytes) {
        socket.data.read(bytes, (body) => {
          const [id, x] = decoder.decode(body) as [number, number];
          socket.data.add([id, x]);
        });
        socket.data.flush(socket);
      },
      close: () => process.exit(0),
    },
  });
}

async function parent(): Promise<void> {
  const path = join(tmpdir(), `bench-${process.pid}.sock`);
  const sockets: Bun.Socket<Wire>[] = [];
  const connected = Promise.withResolvers<void>();
  let results: number[] = [];
  let next = 0;
  let over = () => {};
  const feed = (socket: Bun.Socket<Wire>) => {
    if (next >= COUNT) return;
    socket.data.add([next, next]);
    next++;
  };
  const server = Bun.listen<Wire>({
    unix: path,
    socket: {
      open(socket) {
        socket.data = new Wire();
        if (sockets.push(socket) === 2) connected.resolve();
      },
      data(socket, bytes) {
        socket.data.read(bytes, (body) => {
          const [id, x] = decoder.decode(body) as [number, number];
          results[id] = x;
          done++;
          feed(socket);
        });
        socket.data.flush(socket);
        if (done === COUNT) over();
      },
    },
  });
  let done = 0;
  const children = [0, 1].map(() => Bun.spawn([process.execPath, import.meta.path, path], { stdout: "inherit" }));
  await connected.promise;
  const rates: number[] = [];
  for (let round = 0; round < 18; round++) {
    const start = performance.now();
    results = [];
    next = 0;
    done = 0;
    await new Promise<void>((resolve) => {
      over = resolve;
      for (const socket of sockets) {
        for (let i = 0; i < WINDOW; i++) feed(socket);
        socket.data.flush(socket);
      }
    });
    if (round >= 3) rates.push((COUNT / (performance.now() - start)) * 1_000);
  }
  console.log(rates.sort((a, b) => a - b)[7]);
  for (const each of children) each.kill();
  server.stop(true);
  rmSync(path, { force: true });
}

const [path] = process.argv.slice(2);
if (path) await child(path);
else await parent();
