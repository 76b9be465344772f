/**
 * What may stand next on a command line, from the command tree itself: the part of completion that is the
 * same for every shell.
 *
 * @module
 */
import type { Argument, Command, Option } from "commander";

/** Names out of the topology, or none where it cannot be read. */
export interface Names {
  readonly nodes: readonly string[];
  readonly links: readonly string[];
}

/** What to offer. `files` and `folders`: the shell looks for those itself, beside the words. */
export interface Offer {
  readonly words: readonly string[];
  readonly paths: "files" | "folders" | null;
}

const NOTHING: Offer = { words: [], paths: null };

/** Where the words of a line so far have led. */
interface Place {
  command: Command;
  /** How many arguments were given to it. */
  argumentCount: number;
  /** Behind `--` nothing is an option. */
  onlyArguments: boolean;
  /** The option whose value comes next. */
  awaits: Option | null;
  /** The value of `--topology`; null: none was given. */
  topology: string | null;
}

/**
 * What fits behind `cascade WORDS`; the last word is the one being typed, empty when none is. `namesOf` is
 * asked only if names are wanted, with the value of `--topology`.
 */
export function complete(
  program: Command,
  words: readonly string[],
  namesOf: (topology: string | null) => Names,
): Offer {
  const typed = words.at(-1) ?? "";
  const place = follow(program, words.slice(0, -1));
  const names = () => namesOf(place.topology);
  if (place.awaits !== null) return fitting(valuesOf(place.awaits, names), typed);
  const assigned = place.onlyArguments ? null : /^(--[\w-]+)=(.*)$/s.exec(typed);
  if (assigned !== null) {
    const option = optionOf(place.command, assigned[1]!);
    if (option === undefined || !takesValue(option)) return NOTHING;
    const { words: found, paths } = fitting(valuesOf(option, names), assigned[2]!);
    return { words: found.map((word) => `${assigned[1]}=${word}`), paths };
  }
  if (typed.startsWith("-") && !place.onlyArguments) {
    return fitting(optionsOf(place.command), typed);
  }
  const offer = argumentOffer(place, names);
  return fitting(offer, typed);
}

function follow(program: Command, words: readonly string[]): Place {
  const place: Place = {
    command: program,
    argumentCount: 0,
    onlyArguments: false,
    awaits: null,
    topology: null,
  };
  for (const word of words) step(place, word);
  return place;
}

function step(place: Place, word: string): void {
  const { command, awaits } = place;
  if (awaits !== null) {
    if (awaits.long === "--topology") place.topology = word;
    place.awaits = null;
  } else if (word === "--" && !place.onlyArguments) {
    place.onlyArguments = true;
  } else if (word.startsWith("-") && !place.onlyArguments) {
    const [, flag = word, value] = /^(--[\w-]+)=(.*)$/s.exec(word) ?? [];
    const option = optionOf(command, flag);
    if (option === undefined || !takesValue(option)) return;
    if (value === undefined) place.awaits = option;
    else if (option.long === "--topology") place.topology = value;
  } else {
    const next = place.argumentCount > 0
      ? undefined
      : visible(command).find((child) => child.name() === word);
    if (next === undefined) place.argumentCount++;
    else place.command = next;
  }
}

function visible(command: Command): readonly Command[] {
  return command.createHelp().visibleCommands(command);
}

function optionOf(command: Command, flag: string): Option | undefined {
  return command.options.find(({ long, short }) => long === flag || short === flag);
}

function takesValue({ required, optional }: Option): boolean {
  return required || optional;
}

function optionsOf(command: Command): Offer {
  const options = command.createHelp().visibleOptions(command);
  return { words: options.flatMap(({ long, short }) => long ?? short ?? []), paths: null };
}

function valuesOf({ argChoices, flags, long }: Option, names: () => Names): Offer {
  if (argChoices !== undefined) return { words: argChoices, paths: null };
  if (long === "--node" || long === "--at") return { words: names().nodes, paths: null };
  if (long === "--link") return { words: names().links, paths: null };
  if (/<(?:file|path|image)>/.test(flags)) return { words: [], paths: "files" };
  return /<(?:folder|dir)>/.test(flags) ? { words: [], paths: "folders" } : NOTHING;
}

function argumentOffer({ command, argumentCount }: Place, names: () => Names): Offer {
  const commands = argumentCount > 0 ? [] : visible(command).map((child) => child.name());
  if (command.name() === "help" || commands.length > 0) return { words: commands, paths: null };
  const { registeredArguments: all } = command;
  const argument = all[argumentCount] ?? (all.at(-1)?.variadic === true ? all.at(-1) : undefined);
  return argument === undefined ? NOTHING : argumentValues(argument, names);
}

function argumentValues(argument: Argument, names: () => Names): Offer {
  if (argument.argChoices !== undefined) return { words: argument.argChoices, paths: null };
  const name = argument.name();
  // A copy goes from and to files, and nodes.
  if (name === "source" || name === "target") return { words: names().nodes, paths: "files" };
  if (name === "nodes") return { words: names().nodes, paths: null };
  if (name === "file") return { words: [], paths: "files" };
  return name === "dir" ? { words: [], paths: "folders" } : NOTHING;
}

function fitting({ words, paths }: Offer, typed: string): Offer {
  return { words: [...new Set(words)].filter((word) => word.startsWith(typed)), paths };
}
