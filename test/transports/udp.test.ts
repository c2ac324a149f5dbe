import { UdpTransport } from "../../transports/udp/udp-transport.ts";
import { transportConformance } from "../conformance/transport.ts";
import { TestCa } from "../support/certificates.ts";
import { freeUdpPort } from "./udp-support.ts";

const ca = await TestCa.make();
const credentials = await ca.issue("node1");

transportConformance("UdpTransport", {
  make: async () => ({
    transport: new UdpTransport({ credentials: () => credentials }),
    address: "udp://127.0.0.1:0",
    nowhere: `udp://127.0.0.1:${await freeUdpPort()}`,
    cleanUp: async () => {},
  }),
});
