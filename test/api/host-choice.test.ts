import { describe, expect, it } from "vitest";
import { checkChoice, choiceAmong, type HostChoice, isChosen } from "../../core/api/host-choice.ts";
import { hostInfo } from "./fake-pool.ts";

const HOSTS = [
  hostInfo(20, "gpu1", 2, ["gpu", "big"]),
  hostInfo(21, "gpu2", 2, ["gpu"]),
  hostInfo(22, "rack-7", 4),
  hostInfo(23, "rack-12", 4, ["big"]),
];

function chosen(choice: HostChoice): string[] {
  return HOSTS.filter((host) => isChosen(choice, host)).map(({ name }) => name);
}

function said(choice: HostChoice, hosts = HOSTS): string {
  try {
    checkChoice("pool", choice, hosts);
    return "";
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return `${code} ${message}`;
  }
}

describe("hosts of a pool", () => {
  it.each([
    [{}, ["gpu1", "gpu2", "rack-7", "rack-12"]],
    [{ hosts: ["gpu2"] }, ["gpu2"]],
    [{ hosts: ["gpu*"] }, ["gpu1", "gpu2"]],
    [{ hosts: ["rack-?", "gpu[2-9]"] }, ["gpu2", "rack-7"]],
    [{ hosts: ["{gpu1,rack-12}"] }, ["gpu1", "rack-12"]],
    [{ tags: ["gpu"] }, ["gpu1", "gpu2"]],
    [{ tags: ["gpu", "big"] }, ["gpu1"]],
    [{ tags: [] }, ["gpu1", "gpu2", "rack-7", "rack-12"]],
    [{ hosts: ["*"], tags: ["big"] }, ["gpu1", "rack-12"]],
  ] satisfies [HostChoice, string[]][])("F21 F42 %j means %j", (choice, names) => {
    expect(chosen(choice)).toEqual(names);
    expect(said(choice)).toBe("");
  });

  it("F42 an unknown name is refused with the nearest and all there are", () => {
    const all = "hosts of this mesh: gpu1, gpu2, rack-7, rack-12";
    expect(said({ hosts: ["gpu1", "gpu3"] })).toBe(`USAGE pool: there is no host gpu3; did you mean gpu1? ${all}`);
    expect(said({ hosts: ["elsewhere"] })).toBe(`USAGE pool: there is no host elsewhere; ${all}`);
  });

  it("F21 when nothing matches it says what there is, with tags", () => {
    const all = "hosts of this mesh: gpu1 (gpu, big), gpu2 (gpu), rack-7, rack-12 (big)";
    expect(said({ hosts: ["cpu*"] })).toBe(`USAGE pool: no host is called cpu*; ${all}`);
    expect(said({ tags: ["arm"] })).toBe(`USAGE pool: no host has the tag arm; ${all}`);
    expect(said({ hosts: ["rack-*", "gpu1"], tags: ["gpu", "fast"] })).toBe(
      `USAGE pool: no host is called rack-* or gpu1 and has the tags gpu and fast; ${all}`,
    );
    expect(said({ tags: ["a"] }, [])).toMatch(/no host has the tag a; no host has joined this mesh: start one with/);
  });

  it("of very many hosts some are listed", () => {
    const many = Array.from({ length: 300 }, (_, i) => hostInfo(100 + i, `host-${i}`, 1));
    expect(said({ hosts: ["none"] }, many)).toMatch(/host-0, host-1, .*, host-19 and 280 more$/);
  });

  it("F39 without a mesh every choice means this machine", () => {
    const here = [hostInfo(2, "here", 3)];
    expect(choiceAmong({ hosts: ["gpu1"], tags: ["gpu"] }, here)).toEqual({});
    expect(choiceAmong({ hosts: ["gpu1"] }, HOSTS)).toEqual({ hosts: ["gpu1"] });
    expect(choiceAmong({ hosts: ["gpu2"] }, HOSTS.slice(0, 1))).toEqual({ hosts: ["gpu2"] });
  });
});
