// The providers of this build and those of mesh.toml's files, made when they are first needed.
import { isMeshError, MeshError } from "../../core/errors.ts";
import type { Provider } from "../../core/provider.ts";
import { builtinProviders, type ProviderFactory, type ProviderOptions } from "../../plugins/builtin.ts";

const factories: Record<string, ((options: ProviderOptions) => Provider) | undefined> = builtinProviders;

export class Providers implements AsyncDisposable {
  readonly #options: ProviderOptions;
  readonly #made = new Map<string, Provider>();

  private constructor(options: ProviderOptions) {
    this.#options = options;
  }

  /** Loads the providers in `files`, absolute paths. Throws CONFIG for one that cannot be loaded or is none. */
  static async load(files: readonly string[], options: ProviderOptions): Promise<Providers> {
    const providers = new Providers(options);
    for (const file of files) {
      const provider = await providerIn(file, options);
      providers.#made.set(provider.name, provider);
    }
    return providers;
  }

  /** Throws CONFIG when there is none of that name. */
  get(name: string): Provider {
    const known = this.#made.get(name) ?? factories[name]?.(this.#options);
    if (!known) {
      const names = [...new Set([...Object.keys(factories), ...this.#made.keys()])].join(", ");
      throw new MeshError(
        "CONFIG",
        `no provider is named ${name}: there are ${names}; others come with [plugins] of mesh.toml`,
      );
    }
    this.#made.set(name, known);
    return known;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#made.values()].map((provider) => provider.close()));
  }
}

async function providerIn(file: string, options: ProviderOptions): Promise<Provider> {
  try {
    const { default: factory } = (await import(file)) as { default?: ProviderFactory };
    const provider = await factory?.(options);
    const methods = ["plan", "start", "list", "stop", "close"] as const;
    const isProvider =
      typeof provider?.name === "string" && methods.every((name) => typeof provider[name] === "function");
    if (isProvider) return provider;
    throw new MeshError(
      "CONFIG",
      `its default export makes no provider: it is a function that returns { name, ${methods.join(", ")} }`,
    );
  } catch (cause) {
    const words = isMeshError(cause) ? cause.message : `it cannot be loaded: ${(cause as Error).message}`;
    throw new MeshError("CONFIG", `the provider in ${file}: ${words}`, { cause });
  }
}
