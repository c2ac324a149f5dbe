import { MemoryTransport } from "../../transports/memory/memory-transport.ts";
import { transportConformance } from "../conformance/transport.ts";

transportConformance("MemoryTransport", {
  make: async () => ({
    transport: new MemoryTransport(),
    address: "here",
    nowhere: "elsewhere",
    cleanUp: async () => {},
  }),
});
