import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { describe, expect, it } from "vitest";
import { resultOf } from "../support/mesh.ts";
import { TestMesh } from "../support/test-mesh.ts";

/** Workers whose folders of files are in the test's. */
async function meshWithFiles(limit?: string): Promise<TestMesh> {
  const mesh = await TestMesh.start({ workers: {} });
  for (const name of ["w1", "w2"]) {
    const more = limit === undefined ? [] : ["--files-limit", limit];
    await mesh.startWorker(name, ["--slots", "1", "--files", mesh.folder.at(`files-${name}`), ...more]);
  }
  return mesh;
}

const hashOf = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");

describe("F74: sendFile", () => {
  it("says saved, unchanged, or what stands there, and keeps permissions and time", async () => {
    await using mesh = await meshWithFiles();
    mesh.folder.write({ a: "one", b: "other" });
    chmodSync(mesh.folder.at("a"), 0o640);
    utimesSync(mesh.folder.at("a"), 1, 1_000.5);
    const results = await mesh.resultOf(`
      import { nodes, sendFile } from "mesh";
      const w1 = (await nodes()).find(({ name }) => name === "w1");
      const results = [
        await sendFile("w1", "a", { dir: "some/where" }),
        await sendFile(w1, "a", { dir: "./some//where/", name: "a" }),
        await sendFile("w1", "b", { dir: "some/where", name: "a" }),
        await sendFile("w1", "b", { dir: "some/where", name: "a", overwrite: true, timeoutMs: 10_000 }),
        await sendFile("w1", "b"),
      ];
      console.log(JSON.stringify(results));
    `);
    const path = mesh.folder.at("files-w1/some/where/a");
    expect(results).toEqual([
      { state: "saved", path, sizeBytes: 3, hash: hashOf("one") },
      { state: "unchanged", path, sizeBytes: 3, hash: hashOf("one") },
      { state: "exists", path, sizeBytes: 3, hash: hashOf("one"), mtimeMs: 1_000_500 },
      { state: "saved", path, sizeBytes: 5, hash: hashOf("other") },
      { state: "saved", path: mesh.folder.at("files-w1/b"), sizeBytes: 5, hash: hashOf("other") },
    ]);
    expect(readFileSync(path, "utf8")).toBe("other");
    expect(readdirSync(mesh.folder.at("files-w1/some/where"))).toEqual(["a"]);
  });

  it("works from tasks too, to their own node and others, and on a machine alone", async () => {
    await using mesh = await meshWithFiles();
    const script = (target: string) => `
      import { writeFileSync } from "node:fs";
      import { pool, self, sendFile } from "mesh";
      const sent = await pool({ hosts: "w1" }).map(async (size: number) => {
        const path = process.env.XDG_STATE_HOME + "/of-task";
        writeFileSync(path, new Uint8Array(size).fill(7));
        const sent = await sendFile(${target}, path, { name: "f" + size });
        return [sent.state, sent.path];
      }, [3_000_001]);
      console.log(JSON.stringify(sent));`;
    const here = await mesh.resultOf(script("self.node"));
    expect(here).toEqual([["saved", mesh.folder.at("files-w1/f3000001")]]);
    const there = await mesh.resultOf(script('"w2"'));
    expect(there).toEqual([["saved", mesh.folder.at("files-w2/f3000001")]]);
    expect(statSync(mesh.folder.at("files-w2/f3000001")).size).toBe(3_000_001);
    const data = mesh.folder.at("data");
    const alone = await resultOf(
      'import { self, sendFile } from "mesh"; console.log(JSON.stringify(await sendFile(self.node, "job.ts", { dir: "x" })));',
      { env: { XDG_DATA_HOME: data } },
    );
    expect(alone).toMatchObject({ state: "saved", path: `${data}/mesh/here/files/x/job.ts` });
  });

  it("gives up at its time or signal, and names a node that is not there", async () => {
    await using mesh = await meshWithFiles();
    expect(Bun.spawnSync(["truncate", "-s", "4G", mesh.folder.at("large")]).exitCode).toBe(0);
    mesh.folder.write({ a: "x" });
    const codes = await mesh.resultOf(`
      import { sendFile } from "mesh";
      const codes = [];
      const attempt = (what) => what.then(() => codes.push("done"), (error) => codes.push([error.code, error.message]));
      await attempt(sendFile("w1", "large", { timeoutMs: 300 }));
      const stop = new AbortController();
      const sending = sendFile("w1", "large", { signal: stop.signal });
      setTimeout(() => stop.abort(), 200);
      await attempt(sending);
      await attempt(sendFile("w3", "a"));
      await attempt(sendFile("coordinator", "a"));
      await attempt(sendFile("w1", "none"));
      await attempt(sendFile("w1", "/dev/zero"));
      console.log(JSON.stringify(codes));
    `);
    expect(codes).toEqual([
      ["TIMEOUT", "sendFile: large to w1: not done within 300 ms"],
      ["CANCELLED", "sendFile: large to w1: cancelled by its signal"],
      ["USAGE", expect.stringContaining("sendFile: there is no node w3; did you mean")],
      ["USAGE", "sendFile: coordinator is a coordinator: only workers keep files"],
      ["STORAGE", expect.stringContaining("none: there is no such file or folder")],
      ["STORAGE", "/dev/zero is no file"],
    ]);
    expect(existsSync(mesh.folder.at("files-w1/large"))).toBe(false);
  });
});

describe("F75: what sendFile and deleteFile may reach", () => {
  it("stays in the node's folder of files, whatever dir, name and links say", async () => {
    await using mesh = await meshWithFiles();
    const outside = mesh.folder.at("outside");
    mkdirSync(outside);
    mesh.folder.write({ a: "x", "outside/f": "safe" });
    mkdirSync(mesh.folder.at("files-w1"));
    symlinkSync(outside, mesh.folder.at("files-w1/link"));
    symlinkSync("../outside/f", mesh.folder.at("files-w1/file-link"));
    const codes = await mesh.resultOf(`
      import { deleteFile, sendFile } from "mesh";
      const codes = [];
      const attempt = (what) => what.then((done) => codes.push(done), (error) => codes.push(error.code));
      for (const dir of ["..", "a/../..", "/tmp", "link", "link/deeper", "x\\0y"]) await attempt(sendFile("w1", "a", { dir, overwrite: true }));
      for (const name of ["..", ".", "a/b", "", "../f", "file-link", ".mesh-part-x"]) {
        await attempt(sendFile("w1", "a", { name, overwrite: true }));
      }
      await attempt(deleteFile("w1", "f", { dir: "link" }));
      await attempt(deleteFile("w1", "../outside/f"));
      await attempt(deleteFile("w1", "link"));
      console.log(JSON.stringify(codes));
    `);
    const refused = ["USAGE", "USAGE", "USAGE", "STORAGE", "STORAGE", "USAGE"];
    const names = ["USAGE", "USAGE", "USAGE", "USAGE", "USAGE", "STORAGE", "USAGE"];
    expect(codes).toEqual([...refused, ...names, "STORAGE", "USAGE", true]);
    expect(readdirSync(outside)).toEqual(["f"]);
    expect(readFileSync(`${outside}/f`, "utf8")).toBe("safe");
  });

  it("refuses what is over the node's limit, and deletes", async () => {
    await using mesh = await meshWithFiles("1K");
    mesh.folder.write({ small: "x".repeat(1_024), large: "x".repeat(1_025) });
    const result = await mesh.resultOf(`
      import { deleteFile, sendFile } from "mesh";
      const refused = await sendFile("w1", "large").catch(({ code, message }) => [code, message]);
      const { state } = await sendFile("w1", "small", { dir: "d" });
      const deleted = [await deleteFile("w1", "small", { dir: "d" }), await deleteFile("w1", "small", { dir: "d" }), await deleteFile("w1", "x", { dir: "none" })];
      console.log(JSON.stringify([refused, state, deleted]));
    `);
    const message = expect.stringContaining("large has 1025 bytes; this node takes files of at most 1024");
    expect(result).toEqual([["STORAGE", message], "saved", [true, false, false]]);
    expect(readdirSync(mesh.folder.at("files-w1/d"))).toEqual([]);
  });
});
