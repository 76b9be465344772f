/**
 * Stopping in good order on a signal, for commands that keep what they have done.
 *
 * @module
 */

/** What asks a command to stop in good order. */
export interface StopSignal {
  readonly asked: () => boolean;
  /** Aborted at that moment. */
  readonly signal: AbortSignal;
  end(): void;
}

/** The first Ctrl-C or SIGTERM stops in good order; a second one ends the process at once. */
export function stopOnSignal(): StopSignal {
  const signals = ["SIGINT", "SIGTERM"] as const;
  const stop = new AbortController();
  const end = () => {
    for (const signal of signals) Deno.removeSignalListener(signal, onSignal);
  };
  const onSignal = () => {
    end();
    stop.abort();
  };
  for (const signal of signals) Deno.addSignalListener(signal, onSignal);
  const asked = () => stop.signal.aborted;
  return { asked, signal: stop.signal, end: () => asked() ? undefined : end() };
}
