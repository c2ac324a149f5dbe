// Bad weather between two network devices, in the hands of a bench or of a test. For root alone.
import { join } from "node:path";
import type { WeatherSettings } from "./fate.ts";

const PROGRAM = join(import.meta.dirname, "wire.ts");

export class Weather implements Disposable {
  readonly #wire: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #answers: ReadableStreamDefaultReader<Uint8Array>;

  private constructor(wire: Bun.Subprocess<"pipe", "pipe", "inherit">) {
    this.#wire = wire;
    this.#answers = wire.stdout.getReader();
  }

  /** Makes the devices, which are gone with it, in a network namespace. */
  static async start(namespace: string, devices: [string, string], settings: WeatherSettings): Promise<Weather> {
    const command = ["ip", "netns", "exec", namespace, process.execPath, PROGRAM, ...devices];
    const weather = new Weather(Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr: "inherit" }));
    await weather.set(settings);
    return weather;
  }

  /** Resolves when it holds, for what is sent from then on. Not to be called again before. */
  async set(settings: WeatherSettings): Promise<void> {
    this.#wire.stdin.write(`${JSON.stringify(settings)}\n`);
    await this.#wire.stdin.flush();
    const { done } = await this.#answers.read();
    if (done) throw new Error("the wire has ended");
  }

  [Symbol.dispose](): void {
    this.#wire.kill("SIGKILL");
  }
}
