// What tests of discovery stand on: networks of loopback alone, and free ports, so that nothing leaves the machine.
import { createSocket, type Socket } from "node:dgram";
import type { BeaconContent } from "../../core/discovery/datagram.ts";
import { encodeBeacon } from "../../core/discovery/datagram.ts";
import type { LanInterface } from "../../core/discovery/interfaces.ts";
import type { MeshCa } from "../../core/identity/ca.ts";
import type { Identity } from "../../core/identity/identity.ts";
import { derOf } from "../../core/identity/pem.ts";
import { NOW } from "../identity/support.ts";

const LOOPBACK: LanInterface = { name: "lo", address: "127.0.0.1", netmask: "255.0.0.0" };

export const loopback = (): LanInterface[] => [LOOPBACK];

/** A UDP socket of a stranger to mesh. */
export interface Stranger extends Disposable {
  port: number;
  socket: Socket;
  /** What came to it. */
  heard: Buffer[];
  send(bytes: Uint8Array, port: number): Promise<void>;
}

export function stranger(options: { port?: number; address?: string } = {}): Promise<Stranger> {
  const socket = createSocket("udp4");
  const heard: Buffer[] = [];
  socket.on("message", (bytes) => heard.push(bytes));
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.bind(options.port ?? 0, options.address ?? "127.0.0.1", () => {
      const send = (bytes: Uint8Array, port: number) =>
        new Promise<void>((sent, failed) => {
          socket.send(bytes, port, "127.0.0.1", (error) => (error ? failed(error) : sent()));
        });
      resolve({ port: socket.address().port, socket, heard, send, [Symbol.dispose]: () => socket.close() });
    });
  });
}

/** A port that nobody has on any address. */
export async function freePort(): Promise<number> {
  using socket = await stranger({ address: "0.0.0.0" });
  return socket.port;
}

/** What a beacon of this coordinator says. */
export function contentOf(ca: MeshCa, identity: Identity, changes: Partial<BeaconContent> = {}): BeaconContent {
  return {
    meshId: ca.meshId,
    meshName: "lab",
    node: 4711,
    sequence: 1,
    time: NOW,
    addresses: ["tcp://10.0.0.1:7450", "tcp://127.0.0.1:7450"],
    certificate: identity.certificate,
    authority: derOf(ca.certificatePem),
    ...changes,
  };
}

/** A beacon of this coordinator. */
export function beaconOf(ca: MeshCa, identity: Identity, changes: Partial<BeaconContent> = {}): Uint8Array {
  return encodeBeacon(contentOf(ca, identity, changes), (bytes) => identity.sign(bytes));
}
