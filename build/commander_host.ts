/**
 * What commander takes of Node, for a program whose commands are no programs of their own.
 *
 * The first module of Node's that a process touches, and its files and processes, take 40 ms to be
 * there: a third of what a short command takes in all. In the bundle, lean.ts puts this in their place for
 * commander alone. What commander would do with the rest is what Cascade never asks of it.
 *
 * @module
 */

type Listener = (...args: unknown[]) => void;

/** As much of Node's as commander uses: listeners are called in the order in which they came. */
export class EventEmitter {
  readonly #listeners = new Map<string, Listener[]>();

  on(event: string, listener: Listener): this {
    this.#listeners.set(event, [...this.#listeners.get(event) ?? [], listener]);
    return this;
  }

  emit(event: string, ...args: unknown[]): boolean {
    const listeners = this.#listeners.get(event) ?? [];
    for (const listener of listeners) listener.apply(this, args);
    return listeners.length > 0;
  }

  listenerCount(event: string): number {
    return this.#listeners.get(event)?.length ?? 0;
  }
}

// deno-lint-ignore no-control-regex -- the escape sequences of terminals begin with one
const VT_CONTROL = /\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)|[[(][\d;:?]*[ -/]*[@-~]|[@-Z\\-_])/g;

/** The text without the escape sequences of a terminal. */
export function stripVTControlCharacters(text: string): string {
  return text.replace(VT_CONTROL, "");
}

/** A stream of the process, as one that text is laid out for. */
function streamOf(stream: typeof Deno.stdout) {
  return {
    write: (text: string) => stream.writeSync(new TextEncoder().encode(text)),
    get isTTY() {
      return stream.isTerminal();
    },
    get columns() {
      return Deno.consoleSize().columns;
    },
  };
}

/** Every variable, read when it is asked for. */
const env = new Proxy({}, {
  get: (_, name) => typeof name === "string" ? Deno.env.get(name) : undefined,
  has: (_, name) => typeof name === "string" && Deno.env.has(name),
});

/** `node:process`, and of `node:fs`, `node:path` and `node:child_process` nothing. */
export default {
  env,
  stdout: streamOf(Deno.stdout),
  stderr: streamOf(Deno.stderr),
  get exitCode() {
    return Deno.exitCode;
  },
  exit: (code?: number) => Deno.exit(code),
};
