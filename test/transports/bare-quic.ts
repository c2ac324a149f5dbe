// node:quic as it is, for tests of what the runtime does.
import { createPrivateKey } from "node:crypto";
import type { QuicEndpoint, QuicSession, SessionOptions } from "node:quic";
import type { Credentials } from "../../core/identity/identity.ts";
import { Endpoint } from "../../transports/udp/quic.ts";
import { TestCa } from "../support/certificates.ts";

const ca = await TestCa.make();
export const server = await ca.issue("server");
export const client = await ca.issue("client");
new Endpoint({ host: "127.0.0.1", port: 0 }); // loads it without its warning
export const quic = process.getBuiltinModule("node:quic") as typeof import("node:quic");
const endpoints: QuicEndpoint[] = [];

/** Ends the endpoints there are. */
export function destroyAll(): void {
  for (const endpoint of endpoints.splice(0)) endpoint.destroy();
}

export function bare(address = "127.0.0.1:0", more: object = {}): QuicEndpoint {
  const endpoint = new quic.QuicEndpoint({ address, ...more });
  endpoint.closed.catch(() => {});
  endpoints.push(endpoint);
  return endpoint;
}

function calm(session: QuicSession): QuicSession {
  session.onerror = () => {};
  session.opened.catch(() => {});
  session.closed.catch(() => {});
  return session;
}

export const shownBy = ({ keyPem, certificatePem }: Credentials) => ({
  keys: [createPrivateKey(keyPem)],
  certs: [Buffer.from(certificatePem)],
});

export async function serve(
  on: (session: QuicSession) => void,
  more: SessionOptions = {},
  endpoint = bare(),
): Promise<QuicEndpoint> {
  const sni = { "*": shownBy(server) };
  return await quic.listen((session) => on(calm(session)), { endpoint, alpn: ["test"], sni, ...more });
}

export async function dial(port: number, more: SessionOptions = {}): Promise<QuicSession> {
  const ours = { endpoint: bare(), alpn: "test", servername: "mesh", ca: [Buffer.from(client.caPem)] };
  return calm(await quic.connect(`127.0.0.1:${port}`, { ...ours, verifyPeer: "strict", ...more }));
}

export const portOf = (endpoint: QuicEndpoint) => endpoint.address!.port;
