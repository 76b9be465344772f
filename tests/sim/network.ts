/**
 * The network between simulated hosts: lines with latency, speed and faults, connections over them,
 * and the port that a process sees.
 *
 * How connections end, as with TCP: a close sends the end of the stream behind what was written, or
 * breaks the connection when something was left unread; the death of a process closes its
 * connections; a loss of power says nothing, until something arrives after the host is back.
 *
 * @module
 */
import { assert } from "../../core/assert.ts";
import { CascadeError } from "../../core/errors.ts";
import type { Bytes, Connection, Listener, Network } from "../../core/ports.ts";
import type { Scheduler } from "./clock.ts";
import type { CrashKind, Life } from "./life.ts";
import { type Line, lost, Pipe } from "./pipe.ts";
import type { Prng } from "./prng.ts";
import type { Trace } from "./trace.ts";

/** After this a dial to a host that does not answer gives up, ms. */
const DIAL_TIMEOUT_MS = 10_000;

/** One end of a connection, as a process holds it. */
class SimConnection implements Connection {
  readonly remote: string;
  readonly transport = "tcp";
  readonly channelBinding = null;
  readonly certifiedNames = null;
  readonly #life: Life;
  readonly #link: SimLink;
  readonly #incoming: Pipe;
  readonly #outgoing: Pipe;
  #closed = false;

  constructor(remote: string, life: Life, link: SimLink, incoming: Pipe, outgoing: Pipe) {
    this.remote = remote;
    this.#life = life;
    this.#link = link;
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  read(into: Bytes): Promise<number | null> {
    this.#life.check();
    return this.#closed ? Promise.reject(lost()) : this.#incoming.read(into);
  }

  write(bytes: Bytes): Promise<void> {
    this.#life.check();
    return this.#closed ? Promise.reject(lost()) : this.#outgoing.write(bytes);
  }

  close(): void {
    if (this.#closed || !this.#life.alive) return;
    this.#closed = true;
    this.#incoming.failReader();
    this.#outgoing.failWriter();
    this.#link.closedBy(this.#life);
  }
}

/** A connection: two pipes between two processes. */
class SimLink {
  readonly #fabric: SimFabric;
  readonly #lives: readonly [Life, Life];
  readonly #pipes: readonly [Pipe, Pipe];
  readonly ends: readonly [SimConnection, SimConnection];
  readonly #isClosed = [false, false];
  #over = false;

  constructor(fabric: SimFabric, lives: readonly [Life, Life], address: string, prng: Prng) {
    this.#fabric = fabric;
    this.#lives = lives;
    const pipe = (from: 0 | 1) => {
      const [writer, reader] = [lives[from], lives[1 - from]!];
      return new Pipe({
        scheduler: fabric.scheduler,
        prng: prng.fork(`pipe ${from}`),
        writer,
        reader,
        line: fabric.line(writer.host, reader.host),
        isReachable: () => fabric.isUp(reader.host),
        onUnwanted: () => this.#reset(reader, 1 - from),
      });
    };
    const [there, back] = this.#pipes = [pipe(0), pipe(1)];
    const caller = `${lives[0].host}:${fabric.linkCount}`;
    this.ends = [
      new SimConnection(address, lives[0], this, back, there),
      new SimConnection(caller, lives[1], this, there, back),
    ];
  }

  get over(): boolean {
    return this.#over;
  }

  connects(a: string, b: string): boolean {
    return this.#lives.some((life) => life.host === a) &&
      this.#lives.some((life) => life.host === b);
  }

  #endOf(life: Life): 0 | 1 {
    return this.#lives[0] === life ? 0 : 1;
  }

  /** A process closed its end, or died and the system closed it. */
  closedBy(life: Life): void {
    const end = this.#endOf(life);
    if (this.#over || this.#isClosed[end]) return;
    this.#isClosed[end] = true;
    const incoming = this.#pipes[1 - end]!;
    const breaks = incoming.unread;
    incoming.abandon();
    if (breaks) this.#reset(life, end);
    else this.#pipes[end]!.end();
    if (this.#isClosed[1 - end]) this.#over = true;
  }

  /** The end of `from` tells the other that the connection is broken. That word may be lost. */
  #reset(from: Life, end: number): void {
    const other = this.#lives[1 - end]!;
    const line = this.#fabric.line(from.host, other.host);
    this.#fabric.scheduler.after(line.latencyMs, null, () => {
      if (line.cut || !this.#fabric.isUp(other.host)) return;
      this.break();
    });
  }

  /** Both ends learn that the connection is broken. */
  break(): void {
    this.#over = true;
    for (const pipe of this.#pipes) pipe.fail();
  }

  /** A process ended. */
  died(life: Life, kind: CrashKind): void {
    if (!this.#lives.includes(life)) return;
    if (kind === "process") this.closedBy(life);
    else {
      const end = this.#endOf(life);
      this.#isClosed[end] = true;
      this.#pipes[1 - end]!.abandon();
    }
  }

  /** The line's conditions changed. */
  replan(): void {
    for (const pipe of this.#pipes) pipe.replan();
  }

  /** A host or a line may be back. */
  resume(): void {
    for (const pipe of this.#pipes) pipe.resume();
  }
}

interface Listening {
  readonly life: Life;
  readonly accept: (connection: Connection) => void;
}

/** See the module's text. */
export class SimFabric {
  readonly scheduler: Scheduler;
  readonly #trace: Trace;
  readonly #prng: Prng;
  readonly #hosts = new Map<string, { up: boolean }>();
  readonly #lines = new Map<string, Line>();
  readonly #listening = new Map<string, Listening>();
  #links: SimLink[] = [];
  #linkCount = 0;
  #portCount = 40_000;

  constructor(scheduler: Scheduler, trace: Trace, prng: Prng) {
    this.scheduler = scheduler;
    this.#trace = trace;
    this.#prng = prng;
  }

  /** Connections made so far: names the far ends of callers. */
  get linkCount(): number {
    return this.#linkCount;
  }

  addHost(name: string): void {
    this.#hosts.set(name, { up: true });
  }

  isUp(host: string): boolean {
    return this.#hosts.get(host)?.up ?? false;
  }

  /** The conditions of the line from one host to another, to be read and, but for a cut, changed. */
  line(from: string, to: string): Line {
    const key = `${from}>${to}`;
    let line = this.#lines.get(key);
    if (line === undefined) {
      line = { latencyMs: 0.1, jitterMs: 0.1, bytesPerMs: 1e6, cut: false };
      this.#lines.set(key, line);
    }
    return line;
  }

  /** To be called after the conditions of lines changed. */
  replan(): void {
    this.#sweep();
    for (const link of this.#links) link.replan();
  }

  /** Cuts one direction of a line: silence. */
  cut(from: string, to: string): void {
    this.#trace.note("network", "cut", from, to);
    this.line(from, to).cut = true;
  }

  /** Breaks all connections between two hosts; both ends are told. */
  breakBetween(a: string, b: string): void {
    this.#trace.note("network", "break", a, b);
    this.#sweep();
    for (const link of this.#links) if (link.connects(a, b)) link.break();
  }

  /** Ends all cuts. */
  heal(): void {
    this.#trace.note("network", "heal");
    for (const line of this.#lines.values()) line.cut = false;
    this.#resume();
  }

  /** Ends the cuts between two hosts. */
  healBetween(a: string, b: string): void {
    this.#trace.note("network", "heal", a, b);
    this.line(a, b).cut = this.line(b, a).cut = false;
    this.#resume();
  }

  #resume(): void {
    this.#sweep();
    for (const link of this.#links) link.resume();
  }

  #sweep(): void {
    this.#links = this.#links.filter((link) => !link.over);
  }

  /** A process ended; with `power`, its host is down until {@linkcode SimFabric.boot}. */
  died(life: Life, kind: CrashKind): void {
    for (const [address, listening] of this.#listening) {
      if (listening.life === life) this.#listening.delete(address);
    }
    if (kind === "power") this.#host(life.host).up = false;
    this.#sweep();
    for (const link of this.#links) link.died(life, kind);
  }

  boot(host: string): void {
    this.#host(host).up = true;
    this.#resume();
  }

  #host(name: string): { up: boolean } {
    const host = this.#hosts.get(name);
    assert(host !== undefined, "a host of the simulation");
    return host;
  }

  listen(life: Life, address: string, accept: Listening["accept"]): Listener {
    const real = address.replace(/:0$/, () => `:${this.#portCount++}`);
    hostOf(life, real);
    const key = keyOf(life, real);
    if (this.#listening.has(key)) {
      throw new CascadeError("address-in-use", "somebody listens there already", {
        where: { address },
      });
    }
    const listening = { life, accept };
    this.#listening.set(key, listening);
    this.#trace.note(life.name, "listen", real);
    const close = () => {
      if (this.#listening.get(key) === listening) this.#listening.delete(key);
    };
    return { address: real, close };
  }

  /** Settles after the way there and back; see {@linkcode Network.dial}. */
  dial(life: Life, address: string): Promise<Connection> {
    const to = hostOf(life, address);
    const there = this.line(life.host, to);
    const back = this.line(to, life.host);
    this.#trace.note(life.name, "dial", address);
    return new Promise((resolve, reject) => {
      const giveUp = (reason: string, delayMs: number) => {
        const error = new CascadeError("unreachable", `cannot connect: ${reason}`, {
          where: { address },
          retryable: true,
        });
        this.scheduler.after(delayMs, life, () => reject(error));
      };
      this.scheduler.after(there.latencyMs + this.#prng.fraction() * there.jitterMs, null, () => {
        const listening = this.#listening.get(keyOf(life, address));
        if (there.cut || back.cut || !this.isUp(to)) giveUp("timed out", DIAL_TIMEOUT_MS);
        else if (listening === undefined) giveUp("refused", back.latencyMs);
        else {
          const link = this.#connect(life, listening, address);
          this.scheduler.after(back.latencyMs, life, () => resolve(link.ends[0]));
        }
      });
    });
  }

  #connect(life: Life, listening: Listening, address: string): SimLink {
    this.#linkCount++;
    this.#trace.note(life.name, "connected", address, this.#linkCount);
    const prng = this.#prng.fork(`connection ${this.#linkCount}`);
    const link = new SimLink(this, [life, listening.life], address, prng);
    this.#links.push(link);
    this.scheduler.after(0, listening.life, () => listening.accept(link.ends[1]));
    if (!life.alive) link.died(life, "process");
    return link;
  }
}

/** The host that an address names. Throws `bad-address`. */
function hostOf(life: Life, address: string): string {
  if (address.startsWith("unix:")) return life.host;
  const host = /^tcp:\/\/([^:/]+):\d+$/.exec(address)?.[1];
  if (host === undefined) {
    throw new CascadeError("bad-address", "expected tcp://HOST:PORT or unix:/PATH", {
      where: { address },
    });
  }
  return host;
}

function keyOf(life: Life, address: string): string {
  return address.startsWith("unix:") ? `${life.host}|${address}` : address;
}

/** The port. */
export class SimNetwork implements Network {
  readonly #fabric: SimFabric;
  readonly #life: Life;

  constructor(fabric: SimFabric, life: Life) {
    this.#fabric = fabric;
    this.#life = life;
  }

  dial(address: string): Promise<Connection> {
    return attempt(() => {
      this.#life.check();
      return this.#fabric.dial(this.#life, address);
    });
  }

  listen(address: string, accept: (connection: Connection) => void): Promise<Listener> {
    return attempt(() => {
      this.#life.check();
      return Promise.resolve(this.#fabric.listen(this.#life, address, accept));
    });
  }
}

/** What throws at once rejects, as with any asynchronous call. */
function attempt<T>(call: () => Promise<T>): Promise<T> {
  try {
    return call();
  } catch (error) {
    return Promise.reject(error);
  }
}
