import { describe, expect, test } from "vitest";
import { registryOf } from "../../core/binary/npm-registry.ts";
import { testFolder } from "../support/mesh.ts";

describe("registryOf", () => {
  test.each([
    ["npm's own without settings", "", {}, { url: "https://registry.npmjs.org" }],
    ["that of ~/.npmrc", "registry = https://npm.lab/x/\n", {}, { url: "https://npm.lab/x" }],
    [
      "that of the scope first",
      "registry=https://a\n@oven:registry=https://b\n",
      { npm_config_registry: "https://c" },
      { url: "https://b" },
    ],
    ["that of the environment", "registry=https://a\n", { npm_config_registry: "https://c" }, { url: "https://c" }],
    [
      "with its token",
      `registry=https://a\n//a/:_authToken=$${"{NPM_TOKEN}"}\n`,
      { NPM_TOKEN: "t" },
      { url: "https://a", authorization: "Bearer t" },
    ],
    ["without the token of another one", "registry=https://a\n//b/:_authToken=t\n", {}, { url: "https://a" }],
    [
      "with words that are commented out",
      "; registry=https://b\n# registry=https://b\n",
      {},
      { url: "https://registry.npmjs.org" },
    ],
  ])("F97: is %s", (_, npmrc, env, registry) => {
    using folder = testFolder({ ".npmrc": npmrc });
    expect(registryOf("@oven", { HOME: folder.path, ...env })).toEqual(registry);
  });
});
