// The Bun executables that binaries for other platforms are made from: packages of the npm registry, known by what is in them.
// Wherever they come from, nothing else is taken. A test compares version and digests with package-lock.json.
import type { Platform } from "../provider.ts";
import { platformName } from "./platform.ts";

/** The version of Bun that this build is made with. */
export const BASE_VERSION = "1.4.5";

/** SHA-512 of each package, as `npm view @oven/NAME@VERSION dist.integrity` prints it. */
const INTEGRITY: Record<string, string> = {
  "bun-linux-x64": "IWX9BELoGHAUtMonkeSaNaZwXzRk+oDw6Mk+HBFXd3KHYIBNBsIGRupMZPcgNoDbJpLu6gAJjIoIVPZtt1aJ1g==",
  "bun-linux-x64-baseline": "s8yMwYcFnnrA178gji0gZbkE2WVDej/Ti1x770oPfihxyRxSMNhGhiAQNXV53aDeraZxksdvKV/RAdQBCd0qPA==",
  "bun-linux-x64-musl": "10QoW/YfTgnURaGEaHpJCiXjLI2e5iTtfVDaA5JKcyUzaa1cq6cVUY9/Uq5XkYzvtRjHLRe9Oj/lTDIQcxy8HQ==",
  "bun-linux-x64-musl-baseline":
    "cWJhU8h0+MiUgpSt99sQhjxLIIosKEcKYdtKddohokUvAuN6jKOy7g7+QDTZTXtwHxz93wL3BX+L6wXVPDUH3A==",
  "bun-linux-aarch64": "4BXmsSKnjOrlGWqZV4x/oWa7AVoR+B6lCXddMzOAXBIm3t50eslg9wb66gmtW1AamEQ1l1CDvmmruysEhqOWMg==",
  "bun-linux-aarch64-musl": "XCNc+WvvMAdNNb+OWTogpy+N9wm62fkVeEVLb6how0RZhW5LPi6c7BlkeVCuWps7XjEl2saFpHFa20/1E+PAHg==",
  "bun-darwin-x64": "qkLPMGHZM9NI6CeHTWwVezzmlo6cC4Ta7yUAjYIWXS366qQcOlcp75t2uZyiuVRBMPS0h9qE0tCcvCHGaFqjJg==",
  "bun-darwin-x64-baseline": "zqfLA5A4B+hYMh5WYzYSot3uZ06FzhdP0OEwQisEzdirYtXGj5cQFlfy31BGfNsAsk1Gd/w/OxJ/jqqJ3cMclw==",
  "bun-darwin-aarch64": "4MIFXHmctH2EhAxLXm2/qxNtv17dFtLJylvaOCsrgq6KSqHTs6eW5YSrJjRbJxYUJaR901fsN8JfZOa+CsWpWQ==",
};

export interface Base {
  /** Without its scope, which is @oven. */
  name: string;
  version: string;
  /** SHA-512, in base64. */
  integrity: string;
}

/** The base of a platform's binaries; undefined where there is none. */
export function baseOf(platform: Platform): Base | undefined {
  const name = `bun-${platformName(platform).replace("arm64", "aarch64")}`;
  const integrity = INTEGRITY[name];
  return integrity === undefined ? undefined : { name, version: BASE_VERSION, integrity };
}
