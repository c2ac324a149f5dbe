// Holds a state folder and starts a child, until it is killed: for folder-lock.test.ts.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { FolderLock } from "../../core/coordinator/folder-lock.ts";

const folder = process.argv[2]!;
const lock = new FolderLock(folder);
const child = Bun.spawn(["sleep", "60"], { stdio: ["ignore", "ignore", "ignore"] });
writeFileSync(join(folder, "child.pid"), String(child.pid));
lock.publish({ pid: process.pid, node: 16, addresses: ["tcp://desk:7450"], since: 0, version: "1" });
await new Promise(() => setInterval(() => {}, 1_000));
