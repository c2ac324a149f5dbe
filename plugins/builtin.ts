// The providers that ship. Static imports only: a computed one would be missing from the compiled binary.
import type { Provider } from "../core/provider.ts";
import { LocalProvider } from "./local/local-provider.ts";
import { SshProvider } from "./ssh/ssh-provider.ts";

/** What every provider is given. */
export interface ProviderOptions {
  /** The command line of a subcommand of this very binary. */
  ownCommand(name: string): string[];
  /** Trust hosts whose key is not known yet, and remember it. */
  acceptsNewKeys: boolean;
  /** Offer passwords, which somebody at the terminal is asked for. */
  asksPassword: boolean;
  /** How many logins may be under way at a time. */
  parallel: number;
}

/** Makes a provider; what a file of mesh.toml's [plugins] exports as its default. */
export type ProviderFactory = (options: ProviderOptions) => Provider | Promise<Provider>;

/** By name, as `provider = "..."` of mesh.toml says it. */
export const builtinProviders = {
  local: (options: ProviderOptions) => new LocalProvider(options),
  ssh: (options: ProviderOptions) => new SshProvider(options),
};
