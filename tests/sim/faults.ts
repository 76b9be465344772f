/**
 * What goes wrong: faults at random times, and the end of all faults.
 *
 * @module
 */
import { type Coverage, type Phase, PHASES, phasesOf } from "./coverage.ts";
import type { CrashKind } from "./life.ts";
import type { Line } from "./pipe.ts";
import type { FaultKind, Weather } from "./plan.ts";
import type { Prng } from "./prng.ts";
import type { Requests } from "./requests.ts";
import { Rot } from "./rot.ts";
import type { SimHost } from "./sim_host.ts";
import type { World } from "./world.ts";

/** A host is down for this long on average, ms. */
const DOWN_MS = 1_500;
/** A host is out of reach for this long on average: long enough for logs to go, ms. */
const EXILE_MS = 15_000;
/** A condition lasts for this long on average, ms. */
const CONDITION_MS = 3_000;

/** See the module's text. */
export class Faults {
  readonly #world: World;
  readonly #prng: Prng;
  readonly #weather: Weather;
  readonly #hosts: readonly SimHost[];
  readonly #requests: Requests;
  readonly #coverage: Coverage;
  /** The phase of a delta in which a node is struck next. */
  #aim: { readonly phase: Phase; readonly delayMs: number } | null = null;
  /** This host loses power just after the clients have written next. */
  #ambushed: SimHost | null = null;
  #isOver = false;
  #isFrozen = false;
  readonly rot: Rot;
  /** Faults so far, by kind, for the report. */
  readonly counts = new Map<FaultKind, number>();

  constructor(
    world: World,
    prng: Prng,
    weather: Weather,
    hosts: readonly SimHost[],
    requests: Requests,
    coverage: Coverage,
  ) {
    this.#world = world;
    this.#prng = prng;
    this.#weather = weather;
    this.#hosts = hosts;
    this.#requests = requests;
    this.#coverage = coverage;
    this.rot = new Rot(world, prng.fork("rot"));
    this.#drawLines();
    for (const host of hosts) this.#ordinary(host);
    if (weather.faults.length > 0) this.#next();
  }

  /** What the lines are like when nothing is wrong. */
  #drawLines(): void {
    for (const from of this.#hosts) {
      for (const to of this.#hosts) {
        if (from !== to) this.#ordinaryLine(this.#world.fabric.line(from.name, to.name));
      }
    }
  }

  #ordinaryLine(line: Line): void {
    line.latencyMs = this.#prng.pick([0.05, 0.5, 5]);
    line.jitterMs = line.latencyMs * this.#prng.fraction();
    line.bytesPerMs = this.#prng.pick([5_000, 100_000]);
  }

  #ordinary(host: SimHost): void {
    Object.assign(host.disk.conditions, {
      roomBytes: Infinity,
      flushMs: this.#prng.pick([0.2, 1, 5, 20]),
      flushesToFailure: 0,
      phantom: this.#weather.phantom,
      blind: this.#prng.chance(0.2),
    });
  }

  #next(): void {
    const delayMs = this.#prng.exponential(this.#weather.faultEveryMs);
    this.#world.scheduler.after(delayMs, null, () => {
      if (this.#isOver) return;
      const kind = this.#prng.pick(this.#weather.faults);
      this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
      this.#strike(kind, this.#prng.pick(this.#targets()));
      this.#next();
    });
  }

  #targets(): readonly SimHost[] {
    return this.#weather.sparesPrimary ? this.#hosts.slice(1) : this.#hosts;
  }

  #strike(kind: FaultKind, host: SimHost): void {
    this.#world.trace.note("fault", kind, host.name);
    switch (kind) {
      case "kill":
        return this.#crash(host, "process");
      case "power":
        return this.#crash(host, "power");
      case "fuse":
        return this.#light(host);
      case "blackout":
        for (const each of this.#targets()) this.#crash(each, "power");
        return;
      case "ambush":
        this.#ambushed = this.#prng.chance(0.6) ? this.#targets()[0] ?? host : host;
        return;
      case "stop":
        host.stop();
        return;
      case "flush-fails":
        host.disk.conditions.flushesToFailure = this.#prng.between(1, 20);
        return;
      case "disk-full":
        return this.#fill(host);
      case "disk-slow":
        return this.#slowDisk(host);
      case "pause":
        return this.#pause(host);
      case "rot":
        return this.rot.strike(host);
      case "wipe":
        return this.#wipe(host);
      case "exile":
        return this.#exile(host);
      case "aim":
        this.#aim = { phase: this.#prng.pick(PHASES), delayMs: this.#prng.pick([0, 1, 20]) };
        return;
      case "sync":
        return this.#requests.sync(host);
      case "clock-jump":
        host.wall.originMs += Math.floor(this.#prng.exponential(60_000)) - 30_000;
        return;
      default:
        return this.#strikeLine(kind, host, this.#prng.pick(this.#neighbours(host)));
    }
  }

  #crash(host: SimHost, kind: CrashKind): void {
    // Whoever is told that the host is gone sees to its restart.
    host.crash(kind);
  }

  /** Loses all of a node that can be given a first copy: from a log alone that may not be possible. */
  #wipe(host: SimHost): void {
    const from = host.planned.config.upstream?.from;
    const upstream = this.#hosts.find(({ name }) => name === from);
    if (upstream === undefined) return;
    if (upstream.planned.config.volumes.some(({ path }) => path === null)) return;
    host.wipe();
  }

  /** To be called often: a node that is in the phase that is aimed at is struck there. */
  look(): void {
    const aim = this.#aim;
    if (aim === null || this.#isOver) return;
    const host = this.#targets().find(({ node }) =>
      node !== null && phasesOf(node).includes(aim.phase)
    );
    if (host === undefined) return;
    this.#aim = null;
    this.#world.scheduler.after(this.#prng.exponential(aim.delayMs + 0.01), null, () => {
      if (!this.#isOver) this.#strikeAt(host);
    });
  }

  #strikeAt(host: SimHost): void {
    const neighbours = this.#neighbours(host);
    const other = this.#prng.pick(neighbours);
    const kind = this.#prng.pick(["kill", "power", "fuse", "flush-fails", "cut", "break"] as const);
    this.#world.trace.note("fault", "aimed", kind, host.name);
    if (kind === "kill" || kind === "power") {
      return this.#crash(host, kind === "kill" ? "process" : "power");
    }
    if (kind === "fuse") return host.light(this.#prng.between(1, 12), "power");
    if (kind === "flush-fails") host.disk.conditions.flushesToFailure = this.#prng.between(1, 3);
    else this.#strikeLine(kind, host, other);
  }

  /** Out of its upstream's reach for long: the log that it lacks may go. */
  #exile(host: SimHost): void {
    const from = host.planned.config.upstream?.from;
    if (from === undefined) return;
    const { fabric, scheduler } = this.#world;
    fabric.cut(host.name, from);
    fabric.cut(from, host.name);
    const ms = this.#prng.exponential(EXILE_MS);
    scheduler.after(ms, null, () => fabric.healBetween(host.name, from));
  }

  /** Starts a host again after a while, unless it runs by then. */
  restartLater(host: SimHost): void {
    const delayMs = this.#isOver
      ? this.#prng.below(500)
      : this.#prng.exponential(this.#prng.chance(0.1) ? 10 * DOWN_MS : DOWN_MS);
    this.#world.scheduler.after(delayMs, null, () => {
      if (!this.#isFrozen) host.start();
    });
  }

  /** Nothing is started any more but by others. */
  freeze(): void {
    this.#isFrozen = true;
  }

  /** The clients have written something: now is the worst time to die. */
  onBatch(): void {
    const host = this.#ambushed;
    if (host === null || this.#isOver) return;
    this.#ambushed = null;
    const neighbours = this.#neighbours(host);
    const isLonely = this.#prng.chance(0.4);
    const together = neighbours.filter((other) => this.#targets().includes(other)).filter(() =>
      this.#prng.chance(0.2)
    );
    this.#world.scheduler.after(this.#prng.exponential(4), null, () => {
      if (isLonely) { for (const other of neighbours) this.#cut(host, other); }
      for (const each of [host, ...together]) this.#crash(each, "power");
    });
  }

  /** A new reign has begun: nodes below may be cutting their logs back right now. */
  onReign(): void {
    if (this.#isOver || !this.#weather.faults.includes("fuse")) return;
    for (const host of this.#hosts.slice(1)) if (this.#prng.chance(0.3)) this.#light(host);
  }

  #light(host: SimHost): void {
    host.light(this.#prng.between(1, 60), this.#prng.pick(["process", "power"]));
  }

  #fill(host: SimHost): void {
    const { conditions } = host.disk;
    conditions.roomBytes = host.disk.usedBytes() + this.#prng.below(256 * 1024);
    this.#later(() => conditions.roomBytes = Infinity);
  }

  /** An operator pauses a link of this host, and resumes it a while later. */
  #pause(host: SimHost): void {
    const { upstream, downstream } = host.planned.config;
    const links = [...downstream, ...(upstream === null ? [] : [upstream])];
    const { name } = this.#prng.pick(links);
    // What fails is the host's disk, and that has its own consequences.
    host.node?.hub.pause(name, null).catch(() => {});
    this.#later(() => this.#resume(host, name));
  }

  /** Until it is durable: the host may be down, or die before that. */
  #resume(host: SimHost, link: string): void {
    let isDone = false;
    host.node?.hub.resume(link).then(() => isDone = true, () => {});
    this.#world.scheduler.after(300, null, () => isDone || this.#resume(host, link));
  }

  #slowDisk(host: SimHost): void {
    const { conditions } = host.disk;
    const before = conditions.flushMs;
    conditions.flushMs = this.#prng.pick([20, 100, 400]);
    this.#later(() => conditions.flushMs = before);
  }

  #later(call: () => void): void {
    this.#world.scheduler.after(this.#prng.exponential(CONDITION_MS), null, call);
  }

  /** The hosts that this one has links with. */
  #neighbours(host: SimHost): SimHost[] {
    const { upstream, downstream } = host.planned.config;
    const names = [upstream?.from, ...downstream.map(({ to }) => to)];
    return this.#hosts.filter((other) => names.includes(other.name));
  }

  #strikeLine(
    kind: "cut" | "cut-one-way" | "break" | "line-slow",
    a: SimHost,
    b: SimHost,
  ): void {
    const { fabric } = this.#world;
    if (kind !== "line-slow") { for (const host of [a, b]) this.#coverage.onMishap("cut", host); }
    if (kind === "break") return fabric.breakBetween(a.name, b.name);
    if (kind === "line-slow") {
      const line = fabric.line(a.name, b.name);
      Object.assign(line, {
        latencyMs: this.#prng.pick([1, 50, 400]),
        bytesPerMs: this.#prng.pick([1, 20, 1000]),
      });
      fabric.replan();
      return this.#later(() => {
        this.#ordinaryLine(line);
        fabric.replan();
      });
    }
    if (kind === "cut") return this.#cut(a, b);
    fabric.cut(a.name, b.name);
    this.#later(() => fabric.healBetween(a.name, b.name));
  }

  #cut(a: SimHost, b: SimHost): void {
    const { fabric } = this.#world;
    fabric.cut(a.name, b.name);
    fabric.cut(b.name, a.name);
    if (this.#prng.chance(0.3)) fabric.breakBetween(a.name, b.name);
    this.#later(() => fabric.healBetween(a.name, b.name));
  }

  /** No faults any more: lines and disks are well, and what is down is started. */
  end(): void {
    this.#isOver = true;
    this.#world.trace.note("fault", "calm");
    this.#drawLines();
    this.#world.fabric.heal();
    this.#world.fabric.replan();
    for (const host of this.#hosts) {
      this.#ordinary(host);
      host.light(0, "process");
      this.restartLater(host);
    }
  }
}
