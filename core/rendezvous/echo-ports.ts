// The two UDP ports at which members ask where their packets come from: two, because only a second one shows whether a router
// gives packets to another destination another outside port, and whether it lets in what comes from there.
import type { Clock } from "../clock.ts";
import type { EchoGate } from "./echo-gate.ts";
import { sendDatagram, type UdpPort, type UdpPorts } from "./udp-port.ts";

export class EchoPorts {
  readonly #ports: UdpPort[] = [];
  readonly #gate: EchoGate;
  readonly #clock: Clock;

  private constructor(gate: EchoGate, clock: Clock) {
    this.#gate = gate;
    this.#clock = clock;
  }

  /** Throws UNREACHABLE or FULL when it gets no port at all; with one it cannot do all, and does what it can. */
  static async open(ports: UdpPorts, gate: EchoGate, clock: Clock): Promise<EchoPorts> {
    const echo = new EchoPorts(gate, clock);
    await echo.#open(ports);
    await echo.#open(ports).catch(() => {});
    return echo;
  }

  get numbers(): number[] {
    return this.#ports.map(({ port }) => port);
  }

  close(): void {
    for (const port of this.#ports) port.close();
  }

  async #open(ports: UdpPorts): Promise<void> {
    const index = this.#ports.length;
    const opened = await ports.open((bytes, fromPort, fromHost) => {
      const echo = this.#gate.take(bytes, fromHost, fromPort, this.#clock.now());
      const from = this.#ports[echo?.fromOtherPort ? 1 - index : index];
      if (echo && from) sendDatagram(from, echo.answer, fromPort, fromHost);
    });
    this.#ports[index] = opened;
  }
}
