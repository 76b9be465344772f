/**
 * Waiting on conditions, always with a deadline.
 *
 * @module
 */

/** How long a condition may take unless told otherwise: generous, since the machine is shared. */
const DEADLINE_MS = 60_000;
const POLL_MS = 20;

/** Ends after `ms`. Only for pacing a poll or spreading load: never to wait for an outcome. */
export function pause(ms: number): Promise<void> {
  return new Promise((go) => setTimeout(go, ms));
}

/**
 * Polls until `condition` gives a truthy value, and returns it. A condition that throws counts as
 * not yet true; the deadline's error tells the last thing that it threw or gave.
 */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  { deadlineMs = DEADLINE_MS, pollMs = POLL_MS } = {},
): Promise<NonNullable<T>> {
  const end = performance.now() + deadlineMs;
  let last: unknown;
  while (true) {
    try {
      const value = await condition();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      const told = last instanceof Error ? last.message : JSON.stringify(last);
      throw new Error(`not within ${deadlineMs} ms: ${what} (last seen: ${told})`);
    }
    await pause(pollMs);
  }
}

/** Fails when `promise` takes longer than `deadlineMs`. */
export async function within<T>(
  what: string,
  promise: Promise<T>,
  deadlineMs = DEADLINE_MS,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error(`not within ${deadlineMs} ms: ${what}`)), deadlineMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
