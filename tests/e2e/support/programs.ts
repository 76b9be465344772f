/**
 * Running real programs: to their end with their output, or in the background.
 *
 * @module
 */
import { within } from "./wait.ts";

/** What a program left behind. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run a program. */
export interface RunOptions {
  readonly stdin?: string;
  readonly deadlineMs?: number;
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** The exit codes that are fine; any other throws. Null: all are. */
  readonly codes?: readonly number[] | null;
}

/** Debian's programs come first: a Python elsewhere on the path has no libnbd. */
export const PATH = `/usr/bin:/usr/sbin:/bin:/sbin:${Deno.env.get("PATH") ?? ""}`;

/** Runs a program to its end. Throws, with all of its output, on another exit code than 0. */
export async function run(
  program: string,
  args: readonly string[],
  { stdin, deadlineMs = 120_000, cwd, env = {}, codes = [0] }: RunOptions = {},
): Promise<Outcome> {
  const child = new Deno.Command(program, {
    args: [...args],
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    env: { PATH, LC_ALL: "C", ...env },
    ...(cwd === undefined ? {} : { cwd }),
  }).spawn();
  const fed = stdin === undefined ? Promise.resolve() : feed(child, stdin);
  const line = [program, ...args].join(" ");
  let output: Deno.CommandOutput;
  try {
    output = await within(line, child.output(), deadlineMs);
  } catch (error) {
    end(child);
    throw error;
  }
  await fed;
  const text = new TextDecoder();
  const outcome = {
    code: output.code,
    stdout: text.decode(output.stdout),
    stderr: text.decode(output.stderr),
  };
  if (codes !== null && !codes.includes(outcome.code)) {
    throw new Error(
      `exit code ${outcome.code}: ${line}\n${outcome.stdout.slice(-4000)}\n${
        outcome.stderr.slice(-4000)
      }`,
    );
  }
  return outcome;
}

async function feed(child: Deno.ChildProcess, text: string): Promise<void> {
  const writer = child.stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch {
    // The program ended without reading all: its exit code tells.
  }
}

function end(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

/** A program that runs in the background, its output in a file. */
export class Background {
  readonly name: string;
  readonly outputPath: string;
  readonly #child: Deno.ChildProcess;
  #status: Deno.CommandStatus | null = null;
  readonly ended: Promise<Deno.CommandStatus>;

  /** Starts it. stdout and stderr both go to the end of `outputPath`. */
  constructor(
    name: string,
    program: string,
    args: readonly string[],
    outputPath: string,
    env: Record<string, string> = {},
  ) {
    this.name = name;
    this.outputPath = outputPath;
    // A shell of its own puts the output into the file: no pipe that fills up when nobody reads.
    this.#child = new Deno.Command("/bin/sh", {
      args: ["-c", 'out=$1; shift; exec "$@" >>"$out" 2>&1', "sh", outputPath, program, ...args],
      stdin: "null",
      stdout: "null",
      stderr: "null",
      env: { PATH, LC_ALL: "C", NO_COLOR: "1", ...env },
    }).spawn();
    this.ended = this.#child.status.then((status) => this.#status = status);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Null while it runs. */
  get status(): Deno.CommandStatus | null {
    return this.#status;
  }

  /** Sends a signal; whether it ran. */
  signal(signal: Deno.Signal): boolean {
    if (this.#status !== null) return false;
    try {
      this.#child.kill(signal);
      return true;
    } catch {
      return false;
    }
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.ended;
  }

  /** SIGTERM, and waits; returns the exit code. */
  async stop(deadlineMs = 30_000): Promise<number> {
    this.signal("SIGTERM");
    return (await within(`${this.name} stops after SIGTERM`, this.ended, deadlineMs)).code;
  }

  /** All that it printed. */
  output(): string {
    try {
      return Deno.readTextFileSync(this.outputPath);
    } catch {
      return "";
    }
  }
}

/** Memory of a process, in bytes. */
export interface Memory {
  readonly residentBytes: number;
  /** The most that was ever resident since the start or since {@linkcode resetPeak}. */
  readonly peakBytes: number;
}

/** Reads /proc/PID/status. */
export function memoryOf(pid: number): Memory {
  const text = Deno.readTextFileSync(`/proc/${pid}/status`);
  const field = (name: string) => {
    const match = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text);
    if (match === null) throw new Error(`no ${name} of process ${pid}`);
    return Number(match[1]) * 1024;
  };
  return { residentBytes: field("VmRSS"), peakBytes: field("VmHWM") };
}

/** Lets the peak begin anew at what is resident now. */
export function resetPeak(pid: number): void {
  Deno.writeTextFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** Seconds of processor time, user and system, that a process has used. */
export function cpuSecondsOf(pid: number): number {
  const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  // Fields 14 and 15 of proc(5), in ticks of 10 ms.
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
