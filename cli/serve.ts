/**
 * `cascade serve`.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { CascadeError } from "../core/errors.ts";

/** The command. */
export function serveCommand() {
  return new Command("serve").summary("run one node").action(() => {
    throw new CascadeError("usage", "`cascade serve` is not available in this version");
  });
}
