// Two machines, each behind a router that lets in replies only and leaves ports as they are, as network namespaces; for root alone.
import { randomBytes } from "node:crypto";
import type { Behind } from "./net-rounds.ts";
import type { WeatherSettings } from "./weather/fate.ts";
import { Weather } from "./weather/weather.ts";

export class TwoRouters implements Disposable {
  readonly #id = `mesh-bench-${randomBytes(3).toString("hex")}`;
  #weather: Weather | undefined;

  /** Undefined where there can be none. */
  static lay(): TwoRouters | undefined {
    if (process.getuid?.() !== 0 || !Bun.which("ip") || !Bun.which("iptables")) return undefined;
    const routers = new TwoRouters();
    if (Bun.spawnSync(["sh", "-ec", routers.#script], { stderr: "inherit" }).success) return routers;
    routers[Symbol.dispose]();
    return undefined;
  }

  /** Puts weather between the two routers. To be called once. */
  async weather(settings: WeatherSettings): Promise<void> {
    this.#weather = await Weather.start(`${this.#id}-left-router`, ["near", "far"], settings);
    const script = `
left=${this.#id}-left-router; right=${this.#id}-right-router
ip -n $left link del wan
ip -n $left link set near name wan
ip -n $left link set far netns $right name wan
for name in $left $right; do ip -n $name link set wan txqueuelen 10000; done
ip -n $left address add 10.79.0.1/24 dev wan; ip -n $left link set wan up
ip -n $right address add 10.79.0.2/24 dev wan; ip -n $right link set wan up`;
    if (!Bun.spawnSync(["sh", "-ec", script], { stderr: "inherit" }).success) throw new Error("no weather can be made");
  }

  /** Wraps a command that is to measure. */
  measurer(command: string[]): string[] {
    const behind: Behind = { measurer: "10.79.0.1", answerer: "10.79.0.2", through: this.#at("right") };
    return [...this.#at("left"), "env", `BENCH_BEHIND=${JSON.stringify(behind)}`, ...command];
  }

  [Symbol.dispose](): void {
    this.#weather?.[Symbol.dispose]();
    for (const name of ["left", "right", "left-router", "right-router"])
      Bun.spawnSync(["ip", "netns", "del", `${this.#id}-${name}`], { stderr: "ignore" });
  }

  #at(name: string): string[] {
    return ["ip", "netns", "exec", `${this.#id}-${name}`];
  }

  get #script(): string {
    return `
id=${this.#id}
for name in left right left-router right-router; do ip netns add $id-$name; ip -n $id-$name link set lo up; done
wire() { # A ADDRESS B ADDRESS DEVICE
  ip -n $id-$1 link add $5 type veth peer $5 netns $id-$3
  ip -n $id-$1 address add $2/24 dev $5; ip -n $id-$1 link set $5 up
  ip -n $id-$3 address add $4/24 dev $5; ip -n $id-$3 link set $5 up
}
wire left-router 10.79.0.1 right-router 10.79.0.2 wan
wire left 10.79.1.2 left-router 10.79.1.1 lan
wire right 10.79.2.2 right-router 10.79.2.1 lan
ip -n $id-left route add default via 10.79.1.1
ip -n $id-right route add default via 10.79.2.1
for name in left-router right-router; do
  at="ip netns exec $id-$name"
  $at sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
  $at iptables -w -t nat -A POSTROUTING -o wan -j MASQUERADE
  $at iptables -w -A INPUT -i wan -m conntrack --ctstate NEW -j DROP
  $at iptables -w -A FORWARD -i wan -m conntrack --ctstate NEW -j DROP
done`;
  }
}
