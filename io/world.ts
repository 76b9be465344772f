/**
 * The world as core sees it, on Deno: all ports in one.
 *
 * @module
 */
import type { Journal, LogLevel, Ports } from "../core/ports.ts";
import type { OpenHasher } from "../core/scan/hasher.ts";
import { DenoClock } from "./clock.ts";
import { DenoDisk } from "./disk.ts";
import { hooks } from "./hooks.ts";
import { type JournalFormat, LineJournal } from "./journal.ts";
import { DenoNetwork } from "./network.ts";
import { DenoRandom } from "./random.ts";
import type { NbdTlsSelf } from "./nbd_tls.ts";
import type { TlsSelf } from "./tls.ts";
import { hashInWorkers } from "./scan_pool.ts";
import { ZstdWorker } from "./zstd_pool.ts";

/** What {@linkcode denoPorts} can be told. */
export interface WorldOptions {
  readonly journal: Journal;
  readonly dialTimeoutMs?: number;
  /** Who this node is over TLS and QUIC. */
  readonly tls?: TlsSelf;
  /** Who it is to NBD clients over TLS. */
  readonly nbdTls?: NbdTlsSelf | null;
  readonly openHasher?: OpenHasher;
}

/** The real world. */
export function denoPorts(options: WorldOptions): Ports {
  const { journal, dialTimeoutMs, tls, nbdTls, openHasher } = options;
  const network = {
    journal,
    ...(dialTimeoutMs === undefined ? {} : { dialTimeoutMs }),
    ...(tls === undefined ? {} : { tls }),
    ...(nbdTls === undefined || nbdTls === null ? {} : { nbdTls }),
  };
  return {
    disk: new DenoDisk(),
    network: new DenoNetwork(network),
    clock: new DenoClock(),
    random: new DenoRandom(),
    journal,
    hooks,
    openHasher: openHasher ?? hashInWorkers(),
    compress: new ZstdWorker().compress,
  };
}

/** A journal on standard error; coloured only on a terminal, and not under `NO_COLOR`. */
export function stderrJournal(node: string, format: JournalFormat, level: LogLevel): LineJournal {
  const encoder = new TextEncoder();
  return new LineJournal({
    node,
    format,
    level,
    colour: Deno.stderr.isTerminal() && !Deno.noColor,
    sink: (line) => {
      let rest = encoder.encode(line);
      while (rest.length > 0) rest = rest.subarray(Deno.stderr.writeSync(rest));
    },
    nowMs: () => Date.now(),
  });
}
