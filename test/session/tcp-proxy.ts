// A proxy on loopback between two nodes, whose connections a test cuts, or lets fall silent.
interface Pair {
  near: Bun.Socket<undefined>;
  far: Bun.Socket<undefined> | undefined;
  /** What came before the far connection was there, and what a full one did not take. */
  toFar: Uint8Array[];
  toNear: Uint8Array[];
}

export class TcpProxy implements Disposable {
  readonly address: string;
  readonly #target: { hostname: string; port: number };
  readonly #server: Bun.TCPSocketListener<undefined>;
  readonly #pairs = new Map<Bun.Socket<undefined>, Pair>();
  /** Connections whose bytes get lost. */
  readonly #silent = new Set<Bun.Socket<undefined>>();
  /** New connections are silent from the start. */
  isDeaf = false;
  /** Connections there ever were. */
  connections = 0;

  /** To "tcp://127.0.0.1:PORT". */
  constructor(target: string) {
    const { hostname, port } = new URL(target);
    this.#target = { hostname, port: Number(port) };
    this.#server = Bun.listen<undefined>({
      hostname: "127.0.0.1",
      port: 0,
      data: undefined,
      socket: {
        binaryType: "uint8array",
        open: (near) => void this.#open(near),
        data: (near, bytes) => this.#pass(this.#pairs.get(near), "toFar", bytes),
        drain: (near) => this.#drain(this.#pairs.get(near), "toNear"),
        close: (near) => this.#end(near),
        error: (near) => this.#end(near),
      },
    });
    this.address = `tcp://127.0.0.1:${this.#server.port}`;
  }

  /** Breaks every connection, on both sides. */
  cut(): void {
    for (const { near, far } of [...this.#pairs.values()]) {
      near.terminate();
      far?.terminate();
    }
  }

  /** From here on bytes of connections that are there get lost; new ones work. */
  silence(): void {
    for (const near of this.#pairs.keys()) this.#silent.add(near);
  }

  [Symbol.dispose](): void {
    this.#server.stop(true);
    this.cut();
  }

  async #open(near: Bun.Socket<undefined>): Promise<void> {
    this.connections++;
    const pair: Pair = { near, far: undefined, toFar: [], toNear: [] };
    this.#pairs.set(near, pair);
    if (this.isDeaf) this.#silent.add(near);
    pair.far = await Bun.connect<undefined>({
      ...this.#target,
      data: undefined,
      socket: {
        binaryType: "uint8array",
        data: (_far, bytes) => this.#pass(pair, "toNear", bytes),
        drain: () => this.#drain(pair, "toFar"),
        close: () => this.#end(near),
        error: () => this.#end(near),
      },
    });
    this.#drain(pair, "toFar");
  }

  #pass(pair: Pair | undefined, way: "toFar" | "toNear", bytes: Uint8Array): void {
    if (!pair || this.#silent.has(pair.near)) return;
    pair[way].push(bytes.slice());
    this.#drain(pair, way);
  }

  #drain(pair: Pair | undefined, way: "toFar" | "toNear"): void {
    const socket = way === "toFar" ? pair?.far : pair?.near;
    if (!pair || !socket) return;
    const waiting = pair[way];
    while (waiting.length > 0) {
      const bytes = waiting[0]!;
      const taken = Math.max(0, socket.write(bytes));
      if (taken < bytes.length) {
        waiting[0] = bytes.subarray(taken);
        return;
      }
      waiting.shift();
    }
  }

  #end(near: Bun.Socket<undefined>): void {
    const pair = this.#pairs.get(near);
    if (!pair || this.#silent.has(near)) return;
    this.#pairs.delete(near);
    near.end();
    pair.far?.end();
  }
}
