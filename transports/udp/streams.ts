// From a connection to the link on it: its two streams, as flow.ts draws them.
import { MeshError } from "../../core/errors.ts";
import type { LinkCertificates } from "../../core/transport.ts";
import { StreamLink } from "../stream-link.ts";
import { STREAM_BYTES, STREAM_CONTROL, type Streams, UdpSocket } from "./flow.ts";
import type { ByteStream, Connection } from "./quic.ts";

/** The side that dialed begins both. Rejects when the connection ends before. */
export async function beginLink(connection: Connection, label: string, tls: LinkCertificates): Promise<StreamLink> {
  const streams = { bytes: await connection.openStream(), control: await connection.openStream() };
  streams.bytes.write(new Uint8Array([STREAM_BYTES]));
  streams.control.write(new Uint8Array([STREAM_CONTROL]));
  const { link, socket } = linkOn(connection, streams, label, tls);
  void streams.bytes.read((bytes) => socket.received(bytes));
  void streams.control.read((bytes) => socket.controlled(bytes));
  return link;
}

/** The side that was dialed waits for both: `linked` is called once they have come. */
export function awaitLink(
  connection: Connection,
  label: string,
  tls: LinkCertificates,
  linked: (link: StreamLink) => void,
): (stream: ByteStream) => void {
  const found: Partial<Streams> = {};
  let socket: UdpSocket | undefined;
  const early: [kind: number, bytes: Uint8Array][] = [];
  const take = (kind: number, bytes: Uint8Array) => {
    if (!socket) early.push([kind, bytes]);
    else if (kind === STREAM_BYTES) socket.received(bytes);
    else socket.controlled(bytes);
  };
  const named = (stream: ByteStream, kind: number) => {
    const place = kind === STREAM_BYTES ? "bytes" : kind === STREAM_CONTROL ? "control" : undefined;
    if (!place || found[place]) return connection.cut("it began what is no link");
    found[place] = stream;
    const { bytes, control } = found;
    if (!bytes || !control) return;
    const made = linkOn(connection, { bytes, control }, label, tls);
    socket = made.socket;
    linked(made.link);
    for (const each of early.splice(0)) take(...each);
  };
  return (stream) => {
    let kind: number | undefined;
    void stream.read((bytes) => {
      if (kind !== undefined) return take(kind, bytes);
      kind = bytes[0];
      named(stream, kind ?? -1);
      if (bytes.length > 1) take(kind ?? -1, bytes.subarray(1));
    });
  };
}

function linkOn(connection: Connection, streams: Streams, label: string, tls: LinkCertificates) {
  const link = new StreamLink(label, broken);
  const socket = new UdpSocket(connection, streams, link);
  link.secured(socket, tls);
  return { link, socket };
}

function broken(label: string, error: Error): MeshError {
  return new MeshError("LINK_CLOSED", `${label}: ${error.message}`, { cause: error });
}
