// The process in the middle of bench/relay.ts: forwards between two UDP ports, as a rendezvous does (mesh) or in the fewest lines
// there are (bare). `relay-forwarder.ts mesh|bare`, started by relay-rounds.ts, tells its ports and, asked, what it did so far.
import { systemClock } from "../core/clock.ts";
import { EchoGate } from "../core/rendezvous/echo-gate.ts";
import { Members } from "../core/rendezvous/members.ts";
import { UdpPorts } from "../core/rendezvous/udp-port.ts";
import { UdpRelays } from "../core/rendezvous/udp-relay.ts";
import type { ForwarderSide, Work } from "./relay-rounds.ts";

type Forwarder = { sides: ForwarderSide[]; packets(): number };

async function mesh(): Promise<Forwarder> {
  const members = new Members();
  const gate = new EchoGate(members);
  const relays = new UdpRelays({ clock: systemClock, ports: new UdpPorts("127.0.0.1", undefined), members, gate });
  const relay = await relays.open([1, 2], { over: () => {}, missing: () => {} });
  const side = (node: number): ForwarderSide => {
    const { id, key } = members.of(node);
    return { port: relay.placeOf(node).port, id: id.toHex(), key: key.toHex() };
  };
  const { metrics } = relays;
  return { sides: [side(1), side(2)], packets: () => metrics.packets - metrics.dropped.unsent };
}

async function bare(): Promise<Forwarder> {
  const at: { port: number; host: string }[] = [];
  const sockets: Bun.udp.Socket<"buffer">[] = [];
  let packets = 0;
  for (const side of [0, 1]) {
    const data = (_: unknown, bytes: Buffer, port: number, host: string) => {
      at[side] = { port, host };
      const to = at[1 - side];
      if (to && sockets[1 - side]!.send(bytes, to.port, to.host)) packets++;
    };
    sockets.push(await Bun.udpSocket({ hostname: "127.0.0.1", socket: { data, error: () => {} } }));
  }
  return { sides: sockets.map(({ port }) => ({ port })), packets: () => packets };
}

const forwarder = process.argv[2] === "mesh" ? await mesh() : await bare();
process.on("message", () => {
  const { user, system } = process.cpuUsage();
  process.send!({ packets: forwarder.packets(), cpuSeconds: (user + system) / 1e6 } satisfies Work);
});
process.send!(forwarder.sides);
