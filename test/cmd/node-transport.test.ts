import { describe, expect, it } from "vitest";
import { nodeTransport } from "../../cmd/node-transport.ts";

/** What an address of that scheme is answered, when nothing has to be dialed for the answer. */
async function refusal(scheme: string, transports: string[]): Promise<string> {
  const transport = nodeTransport({ credentials: () => undefined, transports });
  const error = await transport.dial(`${scheme}://nowhere`).catch((problem: Error) => problem);
  return (error as Error).message;
}

describe("nodeTransport", () => {
  it.each([
    ["udp", "tcp"],
    ["punch", "tcp"],
    ["relay", "tcp"],
    ["tcp", "udp"],
    ["tcprelay", "udp"],
  ])("does not dial %s:// where mesh.toml allows %s alone", async (scheme, allowed) => {
    const carrier = allowed === "tcp" ? "udp" : "tcp";
    expect(await refusal(scheme, [allowed])).toContain(`${carrier} is not among the transports of mesh.toml`);
    expect(await refusal(scheme, [carrier])).not.toContain("mesh.toml");
  });

  it("goes by the tunnel over SSH whatever mesh.toml allows, where there is one", async () => {
    expect(await refusal("ssh", ["udp"])).toContain("there is no way to ssh://nowhere");
  });

  it("says which addresses there are, to one of an unknown scheme", async () => {
    expect(await refusal("constructor", ["tcp"])).toContain("tcp://HOST:PORT, udp://HOST:PORT");
  });
});
