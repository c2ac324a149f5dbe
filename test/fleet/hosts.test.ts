import { describe, expect, it } from "vitest";
import { checkSource } from "../../core/config/mod.ts";
import { andRendezvous, chooseHosts, didYouMean, hostOf, rendezvousOf, roleOf } from "../../core/fleet/hosts.ts";

const timing = { heartbeatMs: 1_000, suspectAfterMs: 3_000, downAfterMs: 10_000 };
const entry = (name: string, more = {}) => hostOf({ name, provider: "ssh", ssh: name, tags: [], ...more }, timing);
const known = [entry("gpu1", { ssh: "alice@10.0.0.5", slots: 8 }), entry("rack01"), entry("rack02")];
const targets = (words: string[]) => chooseHosts(words, known, timing).map(({ name, target }) => `${name}=${target}`);

describe("chooseHosts", () => {
  it("F1 takes all that are known when none is named", () => {
    expect(targets([])).toEqual(["gpu1=alice@10.0.0.5", "rack01=rack01", "rack02=rack02"]);
  });

  it.each([
    ["gpu1", "gpu1=alice@10.0.0.5"],
    ["rack[01-02]", "rack01=rack01,rack02=rack02"],
    ["bob@10.0.0.9", "10.0.0.9=bob@10.0.0.9"],
    ["ssh://bob@new.lan:2222", "new.lan=ssh://bob@new.lan:2222"],
    ["new.lan:2222", "new.lan=new.lan:2222"],
  ])("F3 F5 %s is %s", (word, expected) => {
    expect(targets([word]).join(",")).toBe(expected);
  });

  it.each(["-oProxyCommand=touch /tmp/x", "--", "a b", "a\nb", "", "@", "bob@-x"])("refuses %j", (word) => {
    expect(() => targets([word])).toThrow(/no host|malformed|empty/i);
  });

  it("refuses two destinations of one name, and takes a host named twice once", () => {
    expect(() => targets(["bob@new", "eve@new"])).toThrow(/both be named new/);
    expect(targets(["gpu1", "gpu1"])).toHaveLength(1);
  });

  it("F90 says which host of mesh.toml may have been meant", () => {
    const [typo] = chooseHosts(["gpu11"], known, timing);
    expect(didYouMean(typo!, known)).toContain("did you mean gpu1?");
    expect(didYouMean(known[0]!, known)).toBe("");
  });
});

it("F2 andRendezvous: whichever hosts are named, the rendezvous of mesh.toml comes first, and once", () => {
  const rendezvous = { ...entry("rendezvous"), worker: { role: "rendezvous" as const, tags: [], ...timing } };
  const all = [...known, rendezvous];
  expect(andRendezvous([known[0]!], all)).toEqual([rendezvous, known[0]]);
  expect(andRendezvous([known[0]!, rendezvous], all)).toEqual([known[0], rendezvous]);
  expect(andRendezvous([known[0]!], known)).toEqual([known[0]]);
});

describe("rendezvousOf (F2)", () => {
  const hosts = '[hosts.gpu1]\nssh = "alice@10.0.0.5"\n[hosts.here]\nprovider = "local"\n';
  const of = async (table: string) => {
    const checked = await checkSource(`${hosts}[rendezvous]\n${table}`, "mesh.toml");
    if (!("config" in checked)) throw new Error(checked.text);
    return rendezvousOf(checked.config, timing);
  };

  it.each([
    ['host = "gpu1"', "ssh", "alice@10.0.0.5"],
    ['ssh = "bob@vps"', "ssh", "bob@vps"],
    ['host = "local"', "local", "local"],
    ['host = "here"', "local", "here"],
  ])("%s is started by %s at %s, and is a node of its own name and role", async (table, provider, target) => {
    const host = (await of(`${table}\nports = "40000-40099"`))!;
    expect(host).toMatchObject({
      name: "rendezvous",
      provider,
      target,
      worker: { rendezvous: { ports: [40_000, 40_099] }, ...timing },
    });
    expect(roleOf(host)).toBe("rendezvous");
  });

  it("is none where only the coordinator's ports are said", async () => {
    expect(await of('ports = "40000-40099"')).toBeUndefined();
  });
});
