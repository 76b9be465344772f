/**
 * `cascade log`.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { CascadeError } from "../core/errors.ts";

/** The command. */
export function logCommand() {
  return new Command("log").summary("look into the log of a stopped node").action(() => {
    throw new CascadeError("usage", "`cascade log` is not available in this version");
  });
}
