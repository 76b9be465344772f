/**
 * The nearest right word to a misspelt one.
 *
 * @module
 */
import { distance } from "fastest-levenshtein";

/** Longer words are no misspelling of anything here, and would take long to compare. */
const WORD_LENGTH_MAX = 64;

/**
 * The candidate that `word` most likely meant, or null when none is near enough. Case counts for
 * nothing, so `Async` finds `async`.
 */
export function nearest(word: string, candidates: Iterable<string>): string | null {
  if (word.length > WORD_LENGTH_MAX) return null;
  const wanted = word.toLowerCase();
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    if (candidate === word || candidate.length > WORD_LENGTH_MAX) continue;
    const d = difference(wanted, candidate.toLowerCase());
    // A word of two letters is one change away from too many others.
    if (d < bestDistance && d < candidate.length) [best, bestDistance] = [candidate, d];
  }
  return best;
}

/** The edit distance; letters in the wrong order (`mdoe`) count as one slip, as they are typed. */
function difference(a: string, b: string): number {
  const d = distance(a, b);
  return d === 2 && a.length === b.length && [...a].sort().join() === [...b].sort().join() ? 1 : d;
}

/** `a`, `a or b`, `a, b or c`. */
export function orList(words: readonly string[], join = "or"): string {
  if (words.length <= 1) return words[0] ?? "";
  return `${words.slice(0, -1).join(", ")} ${join} ${words[words.length - 1]}`;
}
