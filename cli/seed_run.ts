/**
 * What `cascade seed` does: opens both sides, decides where to begin, runs, and tells how it went.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import type { Clock, Ports } from "../core/ports.ts";
import type { BlockSource, BlockTarget } from "../core/seed/blocks.ts";
import {
  Checkpoint,
  checkpointPath,
  type Resume,
  type SeedIdentity,
} from "../core/seed/checkpoint.ts";
import { firstData, isAsInSource } from "../core/seed/look.ts";
import { freshState, seed, type SeedEnd, type SeedState } from "../core/seed/seed.ts";
import {
  bootId,
  folderOf,
  isLocked,
  openSource,
  openTarget,
  refuseSame,
  type SeedPlace,
} from "../io/seed_places.ts";
import { denoPorts, stderrJournal } from "../io/world.ts";
import { EXIT, ExitWith } from "./exit.ts";
import { printJson, printLine, tell } from "./output.ts";
import { stopOnSignal, type StopSignal } from "./stop_signal.ts";
import { SeedBar, seedSummary } from "./ui/seed_view.ts";

/** The command line, read. */
export interface SeedRequest {
  readonly topology: string;
  /** Somebody named it. */
  readonly isTopologyGiven: boolean;
  readonly source: string;
  readonly target: string;
  readonly compare: boolean;
  readonly verify: boolean;
  readonly force: boolean;
  readonly resumeFile: string | null;
  readonly json: boolean;
  readonly quiet: boolean;
}

interface Sides {
  readonly source: SeedPlace<BlockSource>;
  readonly target: SeedPlace<BlockTarget>;
}

/** Copies from place to place. Throws an {@linkcode ExitWith} or what failed. */
export async function copySeed(request: SeedRequest): Promise<void> {
  const world = denoPorts({ journal: stderrJournal("seed", "text", "warn") });
  refuseSame(request.source, request.target);
  const stop = stopOnSignal();
  const source = await openSource(request.source, world);
  try {
    const { sizeBytes } = source.blocks;
    if (source.file !== null && isLocked(source.file) && !request.quiet) {
      tell("cascade: the source is in use: what is written to it meanwhile may tear the copy");
    }
    const target = await openTarget(request.target, world, { sizeBytes, force: request.force });
    try {
      await seedBetween(request, { source, target }, world, stop);
    } finally {
      await target.blocks.close();
    }
  } finally {
    stop.end();
    await source.blocks.close();
  }
}

async function seedBetween(
  request: SeedRequest,
  sides: Sides,
  world: Ports,
  stop: StopSignal,
): Promise<void> {
  const { source, target } = sides;
  const identity: SeedIdentity = {
    source: source.identity,
    target: target.identity,
    sizeBytes: source.blocks.sizeBytes,
    boot: bootId(),
  };
  const path = request.resumeFile ?? (target.file === null ? null : checkpointPath(target.file));
  const isFound = path !== null && world.disk.exists(path);
  // A checkpoint that is there is looked at first; a new one is made only once nothing speaks against.
  let checkpoint = isFound ? Checkpoint.open(world.disk, path, folderOf(path)) : null;
  try {
    const start = await whereToBegin(request, sides, checkpoint, identity, world.clock, stop.asked);
    if (path !== null) checkpoint ??= Checkpoint.open(world.disk, path, folderOf(path));
    const state = freshState(start.at);
    const began = world.clock.monotonicMs();
    const bar = request.quiet ? null : SeedBar.onTerminal(state, () => identity.sizeBytes);
    let end: SeedEnd;
    try {
      end = await seed({
        ...{ source: source.blocks, target: target.blocks, identity, checkpoint, start, state },
        ...{ compare: request.compare, verify: request.verify, clock: world.clock },
        prepare: () => target.prepare(),
        stopped: stop.asked,
      });
    } finally {
      bar?.end();
    }
    const tookMs = world.clock.monotonicMs() - began;
    report(request, end, { identity, start, state, tookMs, canResume: checkpoint !== null });
  } finally {
    checkpoint?.close();
  }
}

/** From the checkpoint, if it fits; else from the beginning, if the target may be overwritten. */
async function whereToBegin(
  request: SeedRequest,
  { source, target }: Sides,
  checkpoint: Checkpoint | null,
  identity: SeedIdentity,
  clock: Clock,
  stopped: () => boolean,
): Promise<Resume> {
  const beginning = { at: 0, flushed: 0 };
  const say = (text: string) => request.quiet ? undefined : tell(`cascade: ${text}`);
  const found = checkpoint?.resumeAt(identity) ?? "none";
  if (found === "other-target" && request.resumeFile !== null) {
    throw new CascadeError("usage", "the resume file belongs to a copy to another target", {
      where: { file: request.resumeFile },
      hint: "Name another file; remove this one if that copy is given up.",
    });
  }
  if (target.isNew) return beginning;
  if (typeof found === "object") {
    if (!await isAsInSource(source.blocks, target.blocks, found.at)) {
      say("the target is not what this copy had left there: beginning anew");
      return beginning;
    }
    if (found.at > 0) say(`going on at byte ${found.at} of ${identity.sizeBytes}`);
    return found;
  }
  if (found === "other-source") {
    say("the source is not what it was when this copy was begun: beginning anew");
    return beginning;
  }
  if (request.force || request.compare) return beginning;
  const at = await firstData(target.blocks, { clock, stopped, onDone() {} });
  // A look that was cut short proves nothing, and must not become leave to write.
  if (at === null && stopped()) {
    throw new ExitWith(EXIT.failed, "cascade: interrupted before anything was written");
  }
  if (at === null) return beginning;
  throw new CascadeError("refused", "the target is not empty", {
    where: { target: request.target, offset: at },
    hint: "--compare brings an older copy up to date, --force overwrites it.",
  });
}

interface Outcome {
  readonly identity: SeedIdentity;
  readonly start: Resume;
  readonly state: SeedState;
  readonly tookMs: number;
  readonly canResume: boolean;
}

function report(request: SeedRequest, end: SeedEnd, outcome: Outcome): void {
  const { state, start, identity, tookMs } = outcome;
  if (request.json) {
    printJson({
      result: end.kind,
      source: request.source,
      target: request.target,
      sizeBytes: identity.sizeBytes,
      resumedAt: start.at,
      doneBytes: state.doneBytes,
      writtenBytes: state.writtenBytes,
      zeroBytes: state.zeroBytes,
      equalBytes: state.equalBytes,
      verified: end.kind === "done" && request.verify,
      difference: end.kind === "differs" ? end.difference : null,
      seconds: Math.round(tookMs) / 1000,
    });
  } else if (end.kind === "done" && !request.quiet) {
    printLine(seedSummary(state, { start: start.at, tookMs, verified: request.verify }));
  }
  if (end.kind === "differs") {
    const { start: from, end: to, firstByte } = end.difference;
    throw new ExitWith(
      EXIT.differences,
      `cascade: the target differs from the source in bytes ${from} to ${to}, first at ${firstByte}`,
    );
  }
  if (end.kind === "stopped") {
    throw new ExitWith(
      EXIT.failed,
      `cascade: interrupted at byte ${state.doneBytes} of ${identity.sizeBytes}, the target is not whole. ` +
        (outcome.canResume
          ? "Run the same command again to go on from there."
          : "Run it again with --compare to write only what is missing; --resume-file keeps count."),
    );
  }
}
