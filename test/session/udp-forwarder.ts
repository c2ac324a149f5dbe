// Stands between a dialer and a UDP port as a bad network or a router would: loses packets, or changes the port they come from.
export interface ForwarderOptions {
  /** 0 to 1, each way. */
  loss?: number;
  random?: () => number;
}

type Socket = Bun.udp.Socket<"buffer">;

export class UdpForwarder implements Disposable {
  lost = 0;
  /** Sees what comes from the dialer. */
  tap: (bytes: Uint8Array) => void = () => {};
  forwarded = 0;
  readonly #near: Socket;
  readonly #to: { host: string; port: number };
  readonly #options: ForwarderOptions;
  #far: Socket | undefined;
  #client: { port: number; address: string } | undefined;

  private constructor(near: Socket, to: { host: string; port: number }, options: ForwarderOptions) {
    this.#near = near;
    this.#to = to;
    this.#options = options;
  }

  static async start(address: string, options: ForwarderOptions = {}): Promise<UdpForwarder> {
    const port = Number(address.split(":").at(-1));
    let forwarder: UdpForwarder | undefined;
    const near = await Bun.udpSocket({
      hostname: "127.0.0.1",
      socket: {
        data: (_, bytes, from, ip) => forwarder?.out(bytes, from, ip),
        error: () => {},
      },
    });
    forwarder = new UdpForwarder(near, { host: "127.0.0.1", port }, options);
    await forwarder.rebind();
    return forwarder;
  }

  get address(): string {
    return `udp://127.0.0.1:${this.#near.port}`;
  }

  /** From now on the port behind sees packets come from another port, as after a router has forgotten the flow. */
  async rebind(): Promise<void> {
    const before = this.#far;
    this.#far = await Bun.udpSocket({
      hostname: "127.0.0.1",
      socket: { data: (_, bytes) => this.#back(bytes), error: () => {} },
    });
    before?.close();
  }

  out(bytes: Uint8Array, port: number, address: string): void {
    this.#client = { port, address };
    this.tap(bytes);
    if (this.#passes()) this.#far?.send(bytes, this.#to.port, this.#to.host);
  }

  #back(bytes: Uint8Array): void {
    if (this.#client && this.#passes()) this.#near.send(bytes, this.#client.port, this.#client.address);
  }

  #passes(): boolean {
    const { loss = 0, random = Math.random } = this.#options;
    if (random() < loss) {
      this.lost++;
      return false;
    }
    this.forwarded++;
    return true;
  }

  [Symbol.dispose](): void {
    this.#near.close();
    this.#far?.close();
  }
}
