/**
 * The names on a simulated disk, twice: as processes see them and as they are on stable storage. A
 * change of names is stable once its folder was flushed; before, a loss of power may undo it or
 * not. Changes of one name keep their order, those of different names need not.
 *
 * @module
 */
import type { Prng } from "./prng.ts";

/** A change of names that happens as a whole: null takes a name away. */
interface Change<T> {
  readonly folder: string;
  readonly names: readonly (readonly [path: string, entry: T | null])[];
}

/** See the module's text. `T` is what a name stands for; null stands for a folder. */
export class DiskNames<T> {
  #now = new Map<string, T | "folder">([["/", "folder"]]);
  #stable = new Map<string, T | "folder">([["/", "folder"]]);
  #pending: Change<T | "folder">[] = [];

  get(path: string): T | "folder" | undefined {
    return this.#now.get(path);
  }

  has(path: string): boolean {
    return this.#now.has(path);
  }

  /** All paths that processes see. */
  paths(): string[] {
    return [...this.#now.keys()];
  }

  /** Names (not paths) in a folder, sorted. */
  list(folder: string): string[] {
    return [...this.#now.keys()].filter((path) => path !== "/" && folderOf(path) === folder)
      .map((path) => path.slice(path.lastIndexOf("/") + 1)).sort();
  }

  /** What names stand for: those that processes see, and those that a loss of power may bring back. */
  entries(): Set<T> {
    const found = new Set<T>();
    const add = (entry: T | "folder" | null) => {
      if (entry !== null && entry !== "folder") found.add(entry);
    };
    for (const entry of this.#now.values()) add(entry);
    for (const entry of this.#stable.values()) add(entry);
    for (const change of this.#pending) for (const [, entry] of change.names) add(entry);
    return found;
  }

  /** What processes see. */
  visible(): Set<T> {
    const found = new Set<T>();
    for (const entry of this.#now.values()) if (entry !== "folder") found.add(entry);
    return found;
  }

  set(path: string, entry: T | "folder" | null): void {
    this.#change({ folder: folderOf(path), names: [[path, entry]] });
  }

  rename(from: string, to: string): void {
    const entry = this.#now.get(from) ?? null;
    this.#change({ folder: folderOf(to), names: [[to, entry], [from, null]] });
  }

  #change(change: Change<T | "folder">): void {
    this.#pending.push(change);
    apply(this.#now, change);
  }

  /** What a flush of `folder` that begins now will make stable. */
  pendingIn(folder: string): readonly unknown[] {
    return this.#pending.filter((change) => change.folder === folder);
  }

  /** Makes changes stable, in order; those that a crash has decided on already are left out. */
  settle(changes: readonly unknown[]): void {
    const settled = new Set(changes);
    for (const change of this.#pending) if (settled.has(change)) apply(this.#stable, change);
    this.#pending = this.#pending.filter((change) => !settled.has(change));
  }

  /** Everything is stable: for what was there before the run began. */
  settleAll(): void {
    this.settle(this.#pending);
  }

  /** Power is lost. `keep`: how likely each change that was not flushed is there all the same. */
  losePower(prng: Prng, keep: number): void {
    const undone = new Set<string>();
    for (const change of this.#pending) {
      const paths = change.names.map(([path]) => path);
      if (paths.some((path) => undone.has(path)) || !prng.chance(keep)) {
        for (const path of paths) undone.add(path);
      } else apply(this.#stable, change);
    }
    this.#pending = [];
    for (const path of [...this.#stable.keys()].sort()) {
      if (path !== "/" && this.#stable.get(folderOf(path)) !== "folder") this.#stable.delete(path);
    }
    this.#now = new Map(this.#stable);
  }
}

function apply<T>(names: Map<string, T>, change: Change<T>): void {
  for (const [path, entry] of change.names) {
    if (entry === null) names.delete(path);
    else names.set(path, entry);
  }
}

/** The folder that a path lies in. */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash <= 0 ? "/" : path.slice(0, slash);
}
