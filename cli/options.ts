/**
 * Options that several commands share, so that they are spelt and explained alike everywhere.
 *
 * @module
 */
import { Option } from "@commander-js/extra-typings";
import { InvalidArgumentError } from "commander";
import { parseDuration, parseRate, parseSize, type UnitResult } from "../core/topology/units.ts";

/** Where a topology is looked for when nothing else is said. */
export const TOPOLOGY_DEFAULT = "./topology.yaml";

/** `-t, --topology FILE`, from `CASCADE_TOPOLOGY` when it is left out. */
export function topologyOption() {
  return new Option("-t, --topology <file>", "the topology file")
    .env("CASCADE_TOPOLOGY")
    // An empty variable is how many a script unsets one.
    .argParser((text) => text === "" ? TOPOLOGY_DEFAULT : text)
    .default(TOPOLOGY_DEFAULT as string);
}

/** Reads an option's duration, such as `30s` or `1h30m`, into milliseconds. */
export function durationArgument(text: string): number {
  return valueOf(parseDuration(text));
}

/** Reads an option's size, such as `10GiB`, into bytes. */
export function sizeArgument(text: string): number {
  return valueOf(parseSize(text));
}

/** Reads an option's rate, such as `20MiB/s`, into bytes a second. */
export function rateArgument(text: string): number {
  return valueOf(parseRate(text));
}

function valueOf(result: UnitResult): number {
  if (result.ok) return result.value;
  throw new InvalidArgumentError(`Expected ${result.expected}.`);
}

/** The `Examples` section at the end of a command's help: pairs of what for and the command. */
export function examples(...pairs: readonly (readonly [purpose: string, command: string])[]) {
  const lines = pairs.map(([purpose, command]) => `  # ${purpose}\n  ${command}`);
  return `\nExamples:\n${lines.join("\n\n")}\n`;
}
