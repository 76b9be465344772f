/**
 * The topology file of a node that runs, once the tree has changed: it is written on request, and told of where it says
 * something else than what is so.
 *
 * @module
 */
import type { CascadeNode } from "../core/node.ts";
import type { Journal, TopologyKeeper } from "../core/ports.ts";
import { type Disagreement, disagreement } from "../core/tree/settled.ts";
import type { FileOutcome } from "../core/tree/file_report.ts";
import type { View } from "../core/tree/view.ts";
import { writeTopology } from "../io/topology_write.ts";

/**
 * A node that starts may have to hear first how the tree is by now, and after a change that was just ordered its file
 * may be written by the same command.
 */
const TELL_AFTER_MS = 5_000;

/** Who the file belongs to. */
export interface FileUser {
  readonly path: string;
  readonly journal: Journal;
  /** The file says what is so: from now on it is what is declared. */
  readonly onSettled: (view: View) => void;
}

/** See the module's text. */
export class ServedTopology implements TopologyKeeper {
  readonly #user: FileUser;
  #writing: Promise<unknown> = Promise.resolve();
  #last: { readonly id: string; readonly outcome: FileOutcome } | null = null;
  #told = "";
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(user: FileUser) {
    this.#user = user;
  }

  /** One after the other, however many ask. */
  write(view: View, id: string): Promise<FileOutcome> {
    const written = this.#writing.then(async () => {
      if (this.#last?.id !== id) this.#last = { id, outcome: await this.#write(view) };
      return this.#last.outcome;
    });
    this.#writing = written;
    return written;
  }

  async #write(view: View): Promise<FileOutcome> {
    const { path, journal, onSettled } = this.#user;
    const outcome = await writeTopology(path, view);
    const { file, before, reason } = outcome;
    if (outcome.outcome === "failed") {
      journal.write("warn", "the topology file was not written", {
        ...(file === null ? {} : { file }),
        reason: reason ?? "",
      });
      return outcome;
    }
    if (outcome.outcome === "written") {
      journal.write("info", "the topology file was written: it says what is so", {
        ...(file === null ? {} : { file }),
        ...(before === null ? {} : { before }),
      });
    }
    onSettled(view);
    return outcome;
  }

  /** The node was started, or has turned: where the file says something else, that is told soon, once. */
  lookSoon(node: () => CascadeNode): void {
    this.close();
    this.#timer = setTimeout(() => {
      // Who waits for word of others knows that it does not know.
      if (node().tree.seat.isWaiting) this.lookSoon(node);
      else this.#look(node());
    }, TELL_AFTER_MS);
  }

  #look(node: CascadeNode): void {
    const found = differenceOf(node);
    const text = JSON.stringify(found);
    if (found === null || text === this.#told) return;
    this.#told = text;
    const message = "the topology file does not say what is so, and is not followed";
    this.#user.journal.write("warn", message, { ...found });
  }

  /** The file was read again, and says something else. */
  tellReload(found: Disagreement): void {
    this.#told = JSON.stringify(found);
    const message = "roles and links are not changed by the topology file";
    this.#user.journal.write("warn", message, { ...found });
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }
}

function differenceOf({ config, tree: { seat } }: CascadeNode): Disagreement | null {
  const tree = config.fileTree ?? config.tree;
  return tree === null ? null : disagreement(tree, seat.view);
}
