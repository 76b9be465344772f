/**
 * `cascade demo`.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { CascadeError } from "../core/errors.ts";

/** The command. */
export function demoCommand() {
  return new Command("demo").summary("show a whole cascade at work on this machine").action(() => {
    throw new CascadeError("usage", "`cascade demo` is not available in this version");
  });
}
