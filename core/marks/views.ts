/**
 * Read-only exports of images that a node has not applied yet: as of a mark, an LSN or a time between its
 * volumes and the end of its stable log. While one is open nothing is applied past it; all else goes on. The
 * log's budget comes first: where room is needed that an open one holds, it is closed, and says so.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { CascadeError } from "../errors.ts";
import { NbdServer } from "../nbd/server.ts";
import { isLoopback, parseStreamAddress } from "../topology/address.ts";
import type { ViewStatus } from "./apply_status.ts";
import { firstImageLsn, isBoundary, lsnAtTime, markNamed, moment } from "./find_lsn.ts";
import { ImageView, ViewExport } from "./image_view.ts";
import type { MarksHost } from "./marks_host.ts";

/** Exports that are open at once: each has an overlay of its own in memory. */
const VIEWS_MAX = 4;
/** How often, and how many times, it is looked whether no record is applied in part just now. */
const EXACT_LOOK_MS = 10;
const EXACT_LOOKS = 500;

/** What is asked for. */
export type AsOf = { readonly mark: string } | { readonly lsn: number } | {
  readonly timeMs: number;
};

interface Open {
  readonly id: string;
  readonly of: string;
  readonly view: ImageView;
  readonly server: NbdServer;
  readonly openedAtMs: number;
  readonly leaseMs: number | null;
  keptMs: number;
}

/** See the module's text. */
export class Views {
  readonly #host: MarksHost;
  readonly #onMoved: () => void;
  readonly #open: Open[] = [];

  constructor(host: MarksHost, onMoved: () => void) {
    this.#host = host;
    this.#onMoved = onMoved;
  }

  /** Nothing behind it is applied. */
  get limitLsn(): number {
    return Math.min(Infinity, ...this.#open.map(({ view }) => view.lsn));
  }

  /**
   * Opens one; `address`: unix:/PATH, or tcp:// on loopback; null: a socket in the node's folder. `leaseMs`: it
   * closes when {@linkcode Views.keep} was not called for so long; null: when it is closed. Throws `refused`,
   * `not-found`, `usage`, `address-in-use`.
   */
  async open(asOf: AsOf, address: string | null, leaseMs: number | null): Promise<ViewStatus> {
    const { config, ports: { clock, random, network, journal }, pipeline, front } = this.#host;
    if (pipeline.volumes.length === 0) {
      throw new CascadeError("refused", "this node has no volumes to show", {
        hint: "Ask a node that has: one with `volumes` in the topology",
      });
    }
    if (this.#open.length >= VIEWS_MAX) {
      throw new CascadeError("refused", `${VIEWS_MAX} exports are open already`, {
        hint: "Close one with `cascade export --close ID`; `cascade status --json` lists them",
      });
    }
    const id = Buffer.from(random.bytes(4)).toString("hex");
    const listen = checkedAddress(address ?? `unix:${config.dir}/view-${id}.sock`);
    const { lsn, of } = await this.find(asOf);
    await this.#settle();
    const firstLsn = firstImageLsn(pipeline, pipeline.appliedLsn);
    if (lsn < firstLsn) throw tooLate(of, lsn, firstLsn);
    const view: ImageView = new ImageView(pipeline, lsn, () => this.#spoilt(view));
    const description = `${config.cluster}/${config.name} as of ${of}`;
    const exports = view.volumes.map((volume) =>
      new ViewExport(view, volume, front(), description)
    );
    const server = new NbdServer({ network, clock, journal, exports });
    const nowMs = clock.monotonicMs();
    const open = { id, of, view, server, openedAtMs: clock.nowMs(), leaseMs, keptMs: nowMs };
    // From here on nothing is applied past it.
    this.#open.push(open);
    this.#onMoved();
    try {
      await view.build(clock);
      await server.listen(listen);
      if (view.ended !== null) throw new CascadeError("refused", view.ended);
    } catch (error) {
      this.#end(open, "it could not be opened");
      throw error;
    }
    open.keptMs = clock.monotonicMs();
    journal.write("info", "an image of the past is exported", { id, of, lsn });
    return this.#statusOf(open);
  }

  /** No record is applied in part. Throws `refused`. */
  async #settle(): Promise<void> {
    const { ports: { clock }, pipeline, isInPlace } = this.#host;
    for (let look = 0; pipeline.exactLsn() === null || isInPlace(); look++) {
      if (look >= EXACT_LOOKS || isInPlace() || pipeline.blocked !== null) {
        throw new CascadeError("refused", "the volumes are no image that existed just now", {
          hint:
            "A delta is being applied, or a volume has no room: see `cascade status`, and try again",
          retryable: true,
        });
      }
      await new Promise<void>((go) => clock.after(EXACT_LOOK_MS, go));
    }
  }

  /** Where that image is, and its name. Throws `not-found`, `refused`, `usage`. */
  async find(asOf: AsOf): Promise<{ lsn: number; of: string }> {
    const { ports: { clock }, pipeline } = this.#host;
    if ("mark" in asOf) {
      const { name, endLsn } = markNamed(pipeline, asOf.mark);
      if (endLsn > pipeline.stableLsn) throw tooEarly(`mark ${name}`, endLsn, pipeline.stableLsn);
      return { lsn: endLsn, of: `mark ${name}` };
    }
    if ("timeMs" in asOf) {
      return { lsn: await lsnAtTime(pipeline, asOf.timeMs, clock), of: moment(asOf.timeMs) };
    }
    const of = `LSN ${asOf.lsn}`;
    if (asOf.lsn < pipeline.appliedLsn) throw tooLate(of, asOf.lsn, pipeline.appliedLsn);
    if (asOf.lsn > pipeline.stableLsn) throw tooEarly(of, asOf.lsn, pipeline.stableLsn);
    if (await isBoundary(pipeline, asOf.lsn, clock)) return { lsn: asOf.lsn, of };
    throw new CascadeError("usage", `no record begins at ${of}`, {
      hint: "`cascade marks` tells LSNs, and so does `cascade log dump` on a stopped node",
    });
  }

  #spoilt(view: ImageView): string | null {
    const { pipeline, isInPlace } = this.#host;
    if (isInPlace()) return "a delta is being taken in place of the volumes";
    return pipeline.appliedLsn > view.lsn ? "the volumes were brought past it" : null;
  }

  /** Whoever opened it is still there. Throws `not-found`. */
  keep(id: string): ViewStatus {
    const open = this.#named(id);
    open.keptMs = this.#host.ports.clock.monotonicMs();
    return this.#statusOf(open);
  }

  /** Throws `not-found`. */
  close(id: string): void {
    this.#end(this.#named(id), "it was closed");
  }

  #named(id: string): Open {
    const open = this.#open.find((candidate) => candidate.id === id);
    if (open !== undefined) return open;
    throw new CascadeError("not-found", `no export ${id} is open`, {
      hint:
        "It was closed, by somebody or since the log needed its room: the node's journal says why",
    });
  }

  #end(open: Open, why: string): void {
    const place = this.#open.indexOf(open);
    if (place < 0) return;
    open.view.end(why);
    open.server.abort();
    this.#open.splice(place, 1);
    this.#onMoved();
  }

  /** Ends those of which nobody was heard, and those whose image is gone. */
  tick(): void {
    const nowMs = this.#host.ports.clock.monotonicMs();
    for (const open of [...this.#open]) {
      const isLeft = open.leaseMs !== null && nowMs - open.keptMs > open.leaseMs;
      const why = isLeft ? "whoever opened it is gone" : this.#spoilt(open.view);
      if (why !== null) this.#endLoudly(open, why, isLeft ? "info" : "error");
    }
  }

  /** The log has no room: applying has to go on past `lsn`. */
  press(lsn: number): void {
    for (const open of [...this.#open]) {
      if (open.view.lsn < lsn) {
        this.#endLoudly(open, "the log budget is spent, and applying has to go on", "error");
      }
    }
  }

  #endLoudly(open: Open, reason: string, level: "info" | "error"): void {
    const { id, of, view: { lsn } } = open;
    const { journal } = this.#host.ports;
    journal.write(level, "an export of an image of the past was closed", { id, of, lsn, reason });
    this.#end(open, reason);
  }

  status(): ViewStatus[] {
    return this.#open.map((open) => this.#statusOf(open));
  }

  #statusOf({ id, of, view, server, openedAtMs, leaseMs, keptMs }: Open): ViewStatus {
    const { clock } = this.#host.ports;
    const [{ address, clients } = { address: "", clients: 0 }] = server.listening;
    return {
      id,
      of,
      lsn: view.lsn,
      address,
      clients,
      uris: view.volumes.map(({ name }) => uriOf(address, name)),
      openedAtMs,
      closesAtMs: leaseMs === null
        ? null
        : clock.nowMs() + leaseMs - (clock.monotonicMs() - keptMs),
    };
  }

  stop(): void {
    for (const open of [...this.#open]) this.#end(open, "the node stops");
  }
}

/** Where programs find a volume. */
function uriOf(address: string, name: string): string {
  const volume = encodeURIComponent(name);
  if (address.startsWith("unix:")) return `nbd+unix:///${volume}?socket=${address.slice(5)}`;
  return `nbd://${address.replace(/^tcp:\/\//, "")}/${volume}`;
}

/** Nothing protects such an export but who can reach it. */
function checkedAddress(text: string): string {
  const parsed = parseStreamAddress(text);
  const isNear = parsed.ok && (parsed.endpoint.scheme === "unix" ||
    (parsed.endpoint.scheme === "tcp" && isLoopback(parsed.endpoint.host)));
  if (isNear) return text;
  throw new CascadeError("usage", `an image of the past cannot be exported at ${text}`, {
    hint: "Give unix:/PATH, or tcp:// with a loopback address such as 127.0.0.1:10810",
  });
}

function tooLate(of: string, lsn: number, appliedLsn: number): CascadeError {
  return new CascadeError(
    "refused",
    `the node's volumes are past ${of} already: at LSN ${appliedLsn}`,
    {
      where: { LSN: lsn },
      hint: "A node with applyDelay keeps its volumes behind on purpose: ask such a one",
    },
  );
}

function tooEarly(of: string, lsn: number, stableLsn: number): CascadeError {
  return new CascadeError(
    "refused",
    `${of} has not come here yet: the node is at LSN ${stableLsn}`,
    {
      where: { LSN: lsn },
      hint: "Try again when the node has received it, and knows it to be durable above",
      retryable: true,
    },
  );
}
