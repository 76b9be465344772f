/**
 * The transport over a command: what it prints is read, and what is written goes to its standard input, as with
 * `ssh HOST cascade attach --node NODE`. The command lives and dies with the connection.
 *
 * @module
 */
import { CascadeError, describeError } from "../core/errors.ts";
import type { Bytes, Connection, Journal } from "../core/ports.ts";

/** Of a line that the command says on its standard error. */
const SAID_LENGTH_MAX = 300;
const LINE_INTERVAL_MS = 1_000;
const SAME_AGAIN_MS = 600_000;
/** Between the end of its output and its own. */
const EXIT_MS = 500;
/** Between the word that it has to end, and the end. */
const TERMINATE_MS = 2_000;

/** Starts the command. Throws `unreachable` when that cannot be. */
export function dialExec(command: readonly string[], said: CommandsSaid): Connection {
  const [program = "", ...args] = command;
  try {
    const child = new Deno.Command(program, {
      args,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      // A Ctrl-C that stops the node is to let it hand over what is on its way.
      detached: true,
    }).spawn();
    return new ExecConnection(child, command, said);
  } catch (error) {
    throw new CascadeError(
      "unreachable",
      `the command cannot be started: ${describeError(error)}`,
      {
        where: { command: program },
        hint: "It is looked for on the PATH of the user that cascade runs as",
        retryable: true,
        cause: error,
      },
    );
  }
}

class ExecConnection implements Connection {
  readonly remote: string;
  readonly transport = "exec";
  readonly channelBinding = null;
  readonly certifiedNames = null;
  readonly #child: Deno.ChildProcess;
  readonly #program: string;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #said: Said;
  #rest: Uint8Array | null = null;
  #closed = false;

  constructor(child: Deno.ChildProcess, command: readonly string[], told: CommandsSaid) {
    this.#child = child;
    this.#program = command[0] ?? "";
    this.remote = `exec:${command.join(" ")}`;
    this.#reader = child.stdout.getReader();
    this.#writer = child.stdin.getWriter();
    this.#writer.closed.catch(() => {/* whoever writes meets it */});
    this.#said = new Said(child.stderr, this.#program, told);
  }

  async read(into: Bytes): Promise<number | null> {
    if (this.#closed) throw this.#lost(null);
    let chunk = this.#rest;
    try {
      while (chunk === null) {
        const { value, done } = await this.#reader.read();
        if (this.#closed) throw this.#lost(null);
        if (done) return await this.#end();
        if (value.length > 0) chunk = value;
      }
    } catch (error) {
      throw error instanceof CascadeError ? error : this.#lost(error);
    }
    const count = Math.min(chunk.length, into.length);
    into.set(chunk.subarray(0, count));
    this.#rest = count === chunk.length ? null : chunk.subarray(count);
    return count;
  }

  /** There is no more: a command that failed is the reason. */
  async #end(): Promise<null> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<null>((tell) => timer = setTimeout(() => tell(null), EXIT_MS));
    const status = await Promise.race([this.#child.status, late]);
    clearTimeout(timer);
    if (status === null || status.success) return null;
    await this.#said.over;
    const how = status.signal === null ? `with ${status.code}` : `by ${status.signal}`;
    const why = this.#said.last === "" ? "" : `: ${this.#said.last}`;
    throw new CascadeError("connection-lost", `the command ended ${how}${why}`, {
      where: { command: this.#program },
      retryable: true,
    });
  }

  async write(bytes: Bytes): Promise<void> {
    if (this.#closed) throw this.#lost(null);
    try {
      await this.#writer.write(bytes);
    } catch (error) {
      // That it takes no more is how it shows first; how it ended says why.
      if (!this.#closed) await this.#end();
      throw this.#lost(error);
    }
    if (this.#closed) throw this.#lost(null);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#writer.abort().catch(() => {/* it was closed already */});
    this.#reader.cancel().catch(() => {/* the same */});
    this.#finish();
  }

  async #finish(): Promise<void> {
    this.#signal("SIGTERM");
    const timer = setTimeout(() => this.#signal("SIGKILL"), TERMINATE_MS);
    await this.#child.status;
    clearTimeout(timer);
    this.#said.close();
  }

  /** To all of its process group. */
  #signal(name: Deno.Signal): void {
    try {
      Deno.kill(-this.#child.pid, name);
    } catch {
      // It is gone, which is what was wanted.
    }
  }

  #lost(error: unknown): CascadeError {
    return new CascadeError(
      "connection-lost",
      this.#closed
        ? "the connection was closed here"
        : `the command takes no more: ${describeError(error)}`,
      { where: { command: this.#program }, retryable: true, cause: error },
    );
  }
}

/** Tells the journal what commands say on their standard error, and not the same thing all the time. */
export class CommandsSaid {
  readonly #journal: Journal | null;
  readonly #last = new Map<string, { readonly text: string; readonly atMs: number }>();
  #toldMs = -Infinity;

  constructor(journal: Journal | null) {
    this.#journal = journal;
  }

  /** A line a second at the most, and one that is said again and again once in ten minutes. */
  tell(command: string, text: string): void {
    const nowMs = performance.now();
    const last = this.#last.get(command);
    if (last?.text === text && nowMs - last.atMs < SAME_AGAIN_MS) return;
    if (nowMs - this.#toldMs < LINE_INTERVAL_MS) return;
    this.#toldMs = nowMs;
    this.#last.set(command, { text, atMs: nowMs });
    this.#journal?.write("warn", "the command of a link says", { command, text });
  }
}

/** Listens to the standard error of a command. */
class Said {
  /** The last line. */
  last = "";
  /** Settles when there is no more. */
  readonly over: Promise<void>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #program: string;
  readonly #told: CommandsSaid;

  constructor(stream: ReadableStream<Uint8Array>, program: string, told: CommandsSaid) {
    this.#reader = stream.getReader();
    this.#program = program;
    this.#told = told;
    this.over = this.#listen();
  }

  async #listen(): Promise<void> {
    const decoder = new TextDecoder();
    let text = "";
    try {
      for (;;) {
        const { value, done } = await this.#reader.read();
        text += done ? "\n" : decoder.decode(value, { stream: true });
        const lines = text.split("\n");
        text = (lines.pop() ?? "").slice(-SAID_LENGTH_MAX);
        for (const line of lines) this.#take(line.trim().slice(0, SAID_LENGTH_MAX));
        if (done) return;
      }
    } catch {
      // Its end closed it.
    }
  }

  #take(line: string): void {
    if (line === "") return;
    this.last = line;
    this.#told.tell(this.#program, line);
  }

  close(): void {
    this.#reader.cancel().catch(() => {/* it was over already */});
  }
}
