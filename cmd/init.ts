import { Command } from "@commander-js/extra-typings";
export function command() {
  return new Command("init");
}
export async function main(_args: string[]): Promise<number> {
  return 0;
}
