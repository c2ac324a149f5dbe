import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { describe, expect, it } from "vitest";
import { readJsonFile, writeJsonFile } from "../../core/identity/json-file.ts";
import {
  checkPrivateFolder,
  makePrivateFolder,
  readPrivateFile,
  writePrivateFile,
} from "../../core/identity/private-files.ts";
import { joinedFolder, stateFolder } from "../../core/identity/state-folder.ts";
import { folder, refusalOf } from "./support.ts";

const isRoot = process.geteuid?.() === 0;
const mode = (path: string) => statSync(path).mode & 0o777;

describe("makePrivateFolder", () => {
  it("X37 makes folders of mode 0700, those above too", () => {
    using place = folder();
    const before = process.umask(0);
    makePrivateFolder(place.at("a", "b"));
    process.umask(before);
    expect([mode(place.at("a")), mode(place.at("a", "b"))]).toEqual([0o700, 0o700]);
    makePrivateFolder(place.at("a", "b")); // is there already
  });

  it("X37 refuses a link, a file and a folder that others may enter", () => {
    using place = folder();
    writeFileSync(place.at("file"), "");
    symlinkSync(place.path, place.at("link"));
    mkdirSync(place.at("open"));
    chmodSync(place.at("open"), 0o755);
    expect(refusalOf("AUTHENTICATION", () => makePrivateFolder(place.at("file")))).toContain("is not a folder");
    expect(refusalOf("AUTHENTICATION", () => makePrivateFolder(place.at("link")))).toContain("is a symbolic link");
    const words = refusalOf("AUTHENTICATION", () => makePrivateFolder(place.at("open")));
    expect(words).toContain(`has mode 755`);
    expect(words).toContain(`\`chmod 700 ${place.at("open")}\``);
    expect(mode(place.at("open"))).toBe(0o755);
  });

  it("says what is in the way when a folder cannot be made", () => {
    using place = folder();
    writeFileSync(place.at("file"), "");
    const path = place.at("file", "below");
    expect(refusalOf("UNREACHABLE", () => makePrivateFolder(path))).toBe(
      `cannot make the folder ${path}: something above it is no folder`,
    );
    expect(refusalOf("UNREACHABLE", () => checkPrivateFolder(place.at("missing")))).toContain(
      "cannot look at the folder",
    );
  });

  it.skipIf(!isRoot)("X37 refuses a folder and a file of another user (needs root to make them)", () => {
    using place = folder();
    makePrivateFolder(place.at("a"));
    writePrivateFile(place.at("a", "file"), "text");
    for (const path of [place.at("a", "file"), place.at("a")]) chownSync(path, 12_345, 12_345);
    const words = refusalOf("AUTHENTICATION", () => makePrivateFolder(place.at("a")));
    expect(words).toContain(`${place.at("a")} belongs to user 12345, and this is user 0`);
    expect(words).toContain(`\`chown 0 ${place.at("a")}\``);
    const file = place.at("a", "file");
    expect(refusalOf("AUTHENTICATION", () => readPrivateFile(file))).toContain(`${file} belongs to user 12345`);
  });
});

describe("readPrivateFile", () => {
  it("reads what writePrivateFile wrote, and nothing where nothing is", () => {
    using place = folder();
    expect(readPrivateFile(place.at("file"))).toBeUndefined();
    writePrivateFile(place.at("file"), "é\n");
    expect(readPrivateFile(place.at("file"))).toBe("é\n");
    writePrivateFile(place.at("file"), "");
    expect(readPrivateFile(place.at("file"))).toBe("");
  });

  it.each([0o640, 0o604, 0o620, 0o602, 0o644, 0o777])("X37 refuses a file of mode %o", (bits) => {
    using place = folder();
    writePrivateFile(place.at("file"), "secret");
    chmodSync(place.at("file"), bits);
    const words = refusalOf("AUTHENTICATION", () => readPrivateFile(place.at("file")));
    expect(words).toContain(`\`chmod 600 ${place.at("file")}\``);
    expect(words).not.toContain("secret ");
  });

  it("X37 refuses links, folders and named pipes, and waits for none of them", async () => {
    using place = folder();
    writePrivateFile(place.at("file"), "secret");
    symlinkSync(place.at("file"), place.at("link"));
    symlinkSync(place.at("nowhere"), place.at("dangling"));
    mkdirSync(place.at("folder"), { mode: 0o700 });
    expect(await Bun.spawn(["mkfifo", "-m", "600", place.at("pipe")]).exited).toBe(0);
    for (const [name, words] of [
      ["link", "is a symbolic link"],
      ["dangling", "is a symbolic link"],
      ["folder", "is not a plain file"],
      ["pipe", "is not a plain file"],
    ] as const) {
      expect(refusalOf("AUTHENTICATION", () => readPrivateFile(place.at(name)))).toContain(words);
    }
  });

  it("refuses a file that is too large to be one of these", () => {
    using place = folder();
    writePrivateFile(place.at("file"), "");
    truncateSync(place.at("file"), 5 * 2 ** 20);
    expect(refusalOf("AUTHENTICATION", () => readPrivateFile(place.at("file")))).toContain("5242880 bytes, too many");
  });
});

describe("writePrivateFile", () => {
  it("X37 gives mode 0600 to a new file and to one that was open to others", () => {
    using place = folder();
    writeFileSync(place.at("file"), "old");
    chmodSync(place.at("file"), 0o666);
    writePrivateFile(place.at("file"), "new");
    expect(mode(place.at("file"))).toBe(0o600);
    expect(readdirSync(place.path)).toEqual(["file"]);
  });

  it("puts a file in the place of a link, and leaves alone what that led to", () => {
    using place = folder();
    writeFileSync(place.at("target"), "theirs");
    symlinkSync(place.at("target"), place.at("file"));
    writePrivateFile(place.at("file"), "ours");
    expect(readPrivateFile(place.at("file"))).toBe("ours");
    expect(readFileSync(place.at("target"), "utf8")).toBe("theirs");
  });

  it("leaves nothing when it fails, and says where and why", () => {
    using place = folder();
    mkdirSync(place.at("taken", "full"), { recursive: true });
    expect(refusalOf("UNREACHABLE", () => writePrivateFile(place.at("taken"), "x"))).toContain(
      `cannot write ${place.at("taken")}:`,
    );
    expect(readdirSync(place.path)).toEqual(["taken"]);
    refusalOf("UNREACHABLE", () => writePrivateFile(place.at("missing", "file"), "x"));
  });

  it("removes what killed writers of the same file left, and nothing of living ones or of others", () => {
    using place = folder();
    const dead = spawnedAndGone();
    const ours = `.file.${process.pid}.00000000.tmp`;
    const others = `.other.${dead}.00000000.tmp`;
    for (const name of [`.file.${dead}.00000000.tmp`, ours, others]) writeFileSync(place.at(name), "");
    writePrivateFile(place.at("file"), "x");
    expect(readdirSync(place.path).sort()).toEqual([ours, others, "file"].sort());
  });
});

/** The id of a process that is no more. */
function spawnedAndGone(): number {
  return Bun.spawnSync(["true"]).pid;
}

describe("readJsonFile", () => {
  it("reads what writeJsonFile wrote, and refuses what is damaged with advice", () => {
    using place = folder();
    const read = () => readJsonFile(place.at("file"), (value) => value as unknown, "delete it");
    expect(read()).toBeUndefined();
    writeJsonFile(place.at("file"), { a: [1] });
    expect(read()).toEqual({ a: [1] });
    writePrivateFile(place.at("file"), '{"a": [');
    expect(refusalOf("AUTHENTICATION", read)).toBe(`${place.at("file")} is damaged: delete it`);
  });
});

describe("stateFolder", () => {
  function within<T>(env: Record<string, string | undefined>, run: () => T): T {
    const before = { XDG_STATE_HOME: process.env.XDG_STATE_HOME, HOME: process.env.HOME };
    try {
      set({ ...before, ...env });
      return run();
    } finally {
      set(before);
    }
  }

  function set(env: Record<string, string | undefined>): void {
    for (const [name, value] of Object.entries(env)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }

  it("X37 is made in $XDG_STATE_HOME, with mode 0700", () => {
    using place = folder();
    const path = within({ XDG_STATE_HOME: place.at("state") }, () => stateFolder("lab"));
    expect(path).toBe(place.at("state", "mesh", "lab"));
    expect([mode(path), mode(place.at("state", "mesh"))]).toEqual([0o700, 0o700]);
  });

  it.each([undefined, "", "relative/path"])("is in ~/.local/state when XDG_STATE_HOME is %j", (given) => {
    using place = folder();
    const path = within({ XDG_STATE_HOME: given, HOME: place.path }, () => stateFolder("lab"));
    expect(path).toBe(place.at(".local", "state", "mesh", "lab"));
    expect(existsSync(path)).toBe(true);
  });

  it("X37 refuses one that others may enter, and does not change it", () => {
    using place = folder();
    within({ XDG_STATE_HOME: place.path }, () => {
      const path = stateFolder("lab");
      chmodSync(path, 0o755);
      expect(refusalOf("AUTHENTICATION", () => stateFolder("lab"))).toContain(`\`chmod 700 ${path}\``);
      chmodSync(place.at("mesh"), 0o770);
      expect(refusalOf("AUTHENTICATION", () => stateFolder("new"))).toContain(`\`chmod 700 ${place.at("mesh")}\``);
    });
  });

  it.each(["", "..", ".", "a/b", "../x", "/etc"])("never leaves its place for the name %j", (name) => {
    using place = folder();
    within({ XDG_STATE_HOME: place.path }, () => {
      refusalOf("USAGE", () => stateFolder(name));
      refusalOf("USAGE", () => joinedFolder("lab", name));
    });
    expect(readdirSync(place.path)).toEqual([]);
  });

  it("F17 has a folder for each node that joined", () => {
    using place = folder();
    const path = within({ XDG_STATE_HOME: place.path }, () => joinedFolder("lab", "gpu1"));
    expect(path).toBe(place.at("mesh", "lab", "joined", "gpu1"));
    expect([mode(path), mode(place.at("mesh", "lab", "joined"))]).toEqual([0o700, 0o700]);
  });
});
