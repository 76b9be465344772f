/**
 * The marks in a node's log: names that an operator gave to moments of the primary's history. Found when the
 * log is read at the start, noted as records come, forgotten with the log below them.
 *
 * @module
 */
import { assert } from "../assert.ts";

/** Marks that are kept in memory, the newest: what a primary allows in its log. */
export const MARKS_MAX = 4096;

/** What marks are called that the program sets for itself; nobody is shown them. */
export const OWN_MARK_PREFIX = "cascade.";

const NAME = /^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$/;

/** One mark. */
export interface Mark {
  readonly name: string;
  /** Where its record begins: all below it is what had been written when it was set. */
  readonly lsn: number;
  /** Where its record ends: the image of a node that has applied up to here is the mark's. */
  readonly endLsn: number;
  /** The primary's time, ms since 1970. */
  readonly timeMs: number;
}

/** What is wrong with a name for a mark, or null. */
export function markNameFault(name: string): string | null {
  if (!NAME.test(name)) {
    return "a mark's name has 1 to 128 letters, digits and . _ : @ + -, and begins with a letter or a digit";
  }
  return name.startsWith(OWN_MARK_PREFIX)
    ? `names with ${OWN_MARK_PREFIX} are the program's own`
    : null;
}

/** See the module's text. */
export class MarkIndex {
  #marks: Mark[];
  /** Called when a mark was noted, before anything can be applied past it, and when marks were cut off. */
  onChanged: () => void = () => {};

  constructor(marks: readonly Mark[] = []) {
    this.#marks = marks.filter(({ name }) => !name.startsWith(OWN_MARK_PREFIX)).slice(-MARKS_MAX);
  }

  /** A mark was appended to the log. */
  note(mark: Mark): void {
    if (mark.name.startsWith(OWN_MARK_PREFIX)) return;
    assert((this.#marks.at(-1)?.lsn ?? -1) < mark.lsn, "marks come in order");
    this.#marks.push(mark);
    if (this.#marks.length > MARKS_MAX) this.#marks.shift();
    this.onChanged();
  }

  /** The log was cut back to `lsn`. */
  cutBack(lsn: number): void {
    const { length } = this.#marks;
    while ((this.#marks.at(-1)?.lsn ?? -1) >= lsn) this.#marks.pop();
    if (this.#marks.length < length) this.onChanged();
  }

  /** Those from `startLsn` on, where the log begins, in order. */
  from(startLsn: number): readonly Mark[] {
    const first = this.#marks.findIndex(({ lsn }) => lsn >= startLsn);
    if (first < 0) this.#marks = [];
    else if (first > 0) this.#marks = this.#marks.slice(first);
    return this.#marks;
  }

  /** The first that ends behind `lsn`, or null. */
  after(lsn: number): Mark | null {
    // Few wait, and those are the last.
    let found: Mark | null = null;
    for (let i = this.#marks.length - 1; i >= 0; i--) {
      const mark = this.#marks[i];
      if (mark === undefined || mark.endLsn <= lsn) break;
      found = mark;
    }
    return found;
  }
}
