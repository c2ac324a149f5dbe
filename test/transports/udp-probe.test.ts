// What the machine of the other side says of its port, once a link is asked to ask.
import { expect, it } from "vitest";
import { UdpTransport } from "../../transports/udp/udp-transport.ts";
import { UdpForwarder } from "../session/udp-forwarder.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";
import { End } from "./tcp-support.ts";
import { UdpServer } from "./udp-support.ts";

const ca = await TestCa.make();
const server = await ca.issue("server");
const client = await ca.issue("client");

it.each(["udp://127.0.0.1:0", "udp://[::]:0"])(
  "X1 Link.probe, from %s: nothing comes of it while the port is open, and the link ends when it is closed",
  async (place) => {
    await using at = await UdpServer.start(() => server, {}, place);
    let asked = 0;
    const forwarder = await UdpForwarder.start(at.address);
    forwarder.tap = (bytes) => {
      if (bytes.length === 1) asked++;
    };
    const transport = new UdpTransport({ credentials: () => client });
    const near = new End(await transport.dial(forwarder.address));
    await until(() => at.accepted.length === 1, { what: "the link" });
    const before = asked;
    near.link.probe!();
    at.accepted[0]!.link.probe!(); // the forwarder's far port is open too
    await until(() => asked > before, { what: "the question" });
    near.send("still here");
    await until(() => at.accepted[0]!.texts.length === 1, { what: "a frame" });
    expect([near.ends, at.accepted[0]!.ends]).toEqual([[], []]);
    forwarder[Symbol.dispose]();
    for (const { link } of [near, at.accepted[0]!]) link.probe!();
    for (const end of [near, at.accepted[0]!]) {
      expect(await end.ended()).toMatchObject({
        code: "LINK_CLOSED",
        message: /nothing listens there any more/,
      });
    }
  },
);
