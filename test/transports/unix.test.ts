import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { transportConformance } from "../conformance/transport.ts";

function folder(): string {
  return mkdtempSync(join(tmpdir(), "mesh-unix-"));
}

transportConformance("UnixTransport", {
  make: async () => {
    const at = folder();
    return {
      transport: new UnixTransport(),
      address: join(at, "1.sock"),
      nowhere: join(at, "none.sock"),
      cleanUp: async () => rmSync(at, { recursive: true }),
    };
  },
});

it("UnixTransport: the socket belongs to its user alone and goes with its listener", async () => {
  const at = folder();
  const path = join(at, "1.sock");
  const listener = await new UnixTransport().listen(path, () => {});
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await listener.close();
  expect(existsSync(path)).toBe(false);
  rmSync(at, { recursive: true });
});

it("UnixTransport: a path too long for the kernel is refused, not cut", async () => {
  const path = `/tmp/${"x".repeat(120)}`;
  await expect(new UnixTransport().listen(path, () => {})).rejects.toThrow(/at most 107 bytes/);
  await expect(new UnixTransport().dial(path)).rejects.toThrow(/at most 107 bytes/);
});
