/**
 * What was set on links of this node by name, one thing a link: it counts at once, and is kept across restarts.
 *
 * @module
 */

/** See the module's text. */
export class ByLink<T extends { readonly link: string }> {
  #list: readonly T[];
  /** Settles when the list is durable; null when that failed. */
  #saved: Promise<void> | null = Promise.resolve();
  readonly #save: (list: readonly T[]) => Promise<void>;

  /** `save` makes the list durable. */
  constructor(list: readonly T[], save: (list: readonly T[]) => Promise<void>) {
    this.#list = list;
    this.#save = save;
  }

  of(link: string): T | null {
    return this.#list.find((entry) => entry.link === link) ?? null;
  }

  /** In place of what was set on that link before. Settles when it is durable; it counts at once. */
  set(entry: T): Promise<void> {
    return this.#replace([...this.#list.filter(({ link }) => link !== entry.link), entry]);
  }

  /** Settles when it is durable; it counts at once. Done again after a failure, it is saved again. */
  remove(link: string): Promise<void> {
    if (this.of(link) === null && this.#saved !== null) return this.#saved;
    return this.#replace(this.#list.filter((entry) => entry.link !== link));
  }

  #replace(list: readonly T[]): Promise<void> {
    this.#list = list;
    const saved = this.#save(list);
    this.#saved = saved;
    saved.catch(() => {
      if (this.#saved === saved) this.#saved = null;
    });
    return saved;
  }
}
