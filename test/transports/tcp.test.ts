import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { transportConformance } from "../conformance/transport.ts";
import { TestCa } from "../support/certificates.ts";

const ca = await TestCa.make();
const credentials = await ca.issue("node1");

/** A port of loopback that nothing listens on. */
function freePort(): number {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  server.stop(true);
  return server.port;
}

transportConformance("TcpTransport", {
  make: async () => ({
    transport: new TcpTransport({ credentials: () => credentials }),
    address: "tcp://127.0.0.1:0",
    nowhere: `tcp://127.0.0.1:${freePort()}`,
    cleanUp: async () => {},
  }),
});
