/**
 * Commands of the operator, run at certain moments: see `beforeInconsistent` in docs/topology.md.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import type { Hooks } from "../core/ports.ts";

/** Of what a command printed, in the message of an error. */
const SAID_LENGTH_MAX = 300;

/** Runs commands as child processes, without a shell, with `CASCADE_HOOK` set to the hook's name. */
export const hooks: Hooks = {
  async run(name, command) {
    const [program = "", ...args] = command;
    try {
      const child = new Deno.Command(program, {
        args,
        env: { CASCADE_HOOK: name },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      });
      const { code, stdout, stderr } = await child.output();
      const decoder = new TextDecoder();
      if (code === 0) return decoder.decode(stdout).split("\n").filter((line) => line !== "");
      throw failed(name, program, `it ended with ${code}: ${decoder.decode(stderr).trim()}`);
    } catch (error) {
      if (error instanceof CascadeError) throw error;
      throw failed(name, program, error instanceof Error ? error.message : String(error));
    }
  },
};

function failed(name: string, program: string, said: string): CascadeError {
  const text = said.length > SAID_LENGTH_MAX ? `${said.slice(0, SAID_LENGTH_MAX)}...` : said;
  return new CascadeError("hook-failed", `the hook ${name} failed: ${text}`, {
    where: { command: program },
    hint: "Run the command by hand as the user that cascade runs as",
  });
}
