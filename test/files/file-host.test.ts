import { afterEach, describe, expect, test } from "vitest";
import { FileHost } from "../../core/files/file-host.ts";
import type { Role } from "../../core/identity/names.ts";
import { Node } from "../../core/node/node.ts";
import { Codec } from "../../core/wire/codec.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";
import { rejection } from "../coordinator/support.ts";

const [HOST, ASKER] = [16, 17];
const places = [
  { root: "user", path: "/etc/hostname" },
  { root: "user", path: "~" },
  { root: "files", dir: "", name: "x" },
];

describe("FileHost without a folder for files (F77)", () => {
  let host: FileHost | undefined;
  afterEach(() => host?.close());

  test.each(["rendezvous", "coordinator"] as const)("a %s lets users read its log, and no other file", async (role) => {
    const node = new Node({ node: HOST, slot: 0 }, new Codec());
    host = new FileHost({ node });
    const asker = new Node({ node: ASKER, slot: 0 }, new Codec());
    const [near, far] = memoryPair("asker");
    node.addNode({ node: ASKER, role: "client" satisfies Role, link: far });
    asker.addNode({ node: HOST, role, link: near });
    const ask = (type: number, body: unknown) => asker.request({ node: HOST, slot: 0 }, type, body);
    for (const place of places) {
      const words = expect.stringContaining("its log alone can be read");
      expect(await rejection(ask(MessageType.fileOpen, { place }))).toMatchObject({
        code: "AUTHENTICATION",
        message: words,
      });
    }
    const log = await ask(MessageType.fileOpen, { place: { root: "log" } }).catch((error: { code: string }) => error);
    expect(log).toMatchObject("file" in (log as object) ? { file: 1 } : { code: "STORAGE" }); // as this test is started
  });
});
