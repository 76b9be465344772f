/**
 * Where does a peer that stands here continue? One pure decision for every handshake.
 *
 * @module
 */
import type { LinkHost } from "./host.ts";
import { isPromotedOver } from "../tree/view.ts";
import type { PositionMessage, Refusal } from "./messages.ts";

/** The answer to a POSITION. */
export type Verdict =
  /** `lsn`: what is final there. `needsSeed`: it has no image, and the log alone gives it none. */
  | {
    readonly kind: "accept";
    readonly fromLsn: number;
    readonly lsn: number;
    readonly needsSeed: boolean;
  }
  | { readonly kind: "refuse"; readonly refusal: Refusal };

/** What there is here for a peer. */
export interface Ways {
  /** Whether all that follows here is kept as it came. */
  goesOnFrom(lsn: number): boolean;
  /** Or, if not, whether what the peer lacks is known: less than all. */
  reaches(lsn: number): boolean;
  readonly hasVolumes: boolean;
}

/** Judges the position of a node below. */
export function judgePosition(
  host: Pick<LinkHost, "config" | "base" | "pipeline" | "deltas" | "scans">,
  position: PositionMessage,
  ways: Ways,
): Verdict {
  const { pipeline, config } = host;
  if (host.base === null && !pipeline.reigns) {
    // A log-only node before its first word from above: it cannot compare images yet.
    const message = `${config.name} has not been told yet what the volumes were at LSN 0`;
    return { kind: "refuse", refusal: { code: "not-ready", message } };
  }
  if (host.deltas.isInPlace || host.deltas.isFresh) {
    const message = `${config.name} is being filled itself, and has no whole image yet`;
    return { kind: "refuse", refusal: { code: "not-ready", message } };
  }
  if (host.deltas.isRejoining) {
    const message =
      `${config.name} has not taken yet what leads from an abandoned epoch to this one`;
    return { kind: "refuse", refusal: { code: "not-ready", message } };
  }
  if (host.scans?.isNeeded) {
    // A peer that had a part of the log could not be given a first copy in place any more.
    const message = `${config.name} has not scanned its volumes yet: run \`cascade sync\``;
    return { kind: "refuse", refusal: { code: "not-ready", message } };
  }
  const different = volumesDiffer(host, position);
  if (different !== null) return { kind: "refuse", refusal: different };
  const image = imagesDiffer(host, position);
  if (image !== null && !position.fresh) return { kind: "refuse", refusal: image };
  const fork = pipeline.history.fork(position.history);
  if (position.stableLsn > fork.lsn) {
    // The peer holds records as final that this history does not have.
    const mine = fork.mine?.number ?? 0;
    const theirs = fork.theirs?.number ?? 0;
    const last = position.history.at(-1)?.number ?? 0;
    const isOver = isPromotedOver(pipeline.history.lastNumber, last);
    const abandoned = fork.mine !== null && (mine > theirs || isOver);
    const onlyAhead = fork.mine === null && !pipeline.reigns && fork.lsn >= pipeline.appendedLsn;
    if (!onlyAhead) {
      const wonBy = abandoned && isOver ? pipeline.history.lastNumber : undefined;
      return refuseFork(config.name, abandoned, fork.lsn, wonBy);
    }
  } else if (pipeline.reigns && position.stableLsn > pipeline.appendedLsn) {
    return refuseFork(config.name, false, pipeline.appendedLsn);
  }
  if (position.stableLsn > pipeline.stableLsn) {
    // This node lost what it had: whatever it could send is older than what the peer has.
    const message = `${config.name} has not caught up with its peer yet`;
    return { kind: "refuse", refusal: { code: "not-ready", message } };
  }
  const fromLsn = Math.min(fork.lsn, position.endLsn, pipeline.appendedLsn);
  const lsn = Math.min(fromLsn, position.stableLsn);
  const reaches = ways.reaches(lsn);
  // Blocks of the volumes need no room there to be staged in while there is no image to protect.
  const needsSeed = position.fresh &&
    (position.inPlace || image !== null || !ways.goesOnFrom(lsn));
  // At worst all of the volumes is sent.
  if (ways.hasVolumes || (reaches && !needsSeed)) {
    return { kind: "accept", fromLsn, lsn, needsSeed };
  }
  const message =
    `the peer stands at LSN ${lsn}, what it lacks from there on is not in the log of ` +
    `${config.name} any more, and ${config.name} has no volumes to read it from: give it volumes, or ` +
    "link the peer to a node that has them";
  return { kind: "refuse", refusal: { code: "delta-needed", message } };
}

function refuseFork(
  node: string,
  abandoned: boolean,
  forkLsn: number,
  wonBy: number | undefined = undefined,
): Verdict {
  const message = abandoned
    ? `the peer's records from LSN ${forkLsn} on are of an abandoned epoch; nothing was changed`
    : `the peer has records from LSN ${forkLsn} on that ${node} never had; nothing was changed`;
  return {
    kind: "refuse",
    refusal: {
      code: abandoned ? "abandoned-tail" : "conflict",
      message,
      forkLsn,
      ...(wonBy === undefined ? {} : { wonBy }),
    },
  };
}

function volumesDiffer(
  host: Pick<LinkHost, "config" | "base">,
  position: PositionMessage,
): Refusal | null {
  const mine = host.config.volumes.map(describeVolume);
  const theirs = position.volumes.map(describeVolume);
  for (let number = 0; number < Math.max(mine.length, theirs.length); number++) {
    if (mine[number] === theirs[number]) continue;
    const message = `${host.config.name} has ${mine[number] ?? "nothing"} as volume ` +
      `number ${number}; the peer has ${theirs[number] ?? "nothing"}`;
    return { code: "wrong-volumes", message };
  }
  return null;
}

function imagesDiffer(
  host: Pick<LinkHost, "config" | "base">,
  position: PositionMessage,
): Refusal | null {
  if (host.base === null || position.base === null) return null;
  for (const { name } of host.config.volumes) {
    if (host.base[name] === position.base[name]) continue;
    const message = `volume ${name} did not begin as the same image on both nodes: start with ` +
      "blank volumes, or with copies of one image";
    return { code: "other-image", message };
  }
  return null;
}

function describeVolume({ name, sizeBytes }: { name: string; sizeBytes: number }): string {
  return `${name} of ${sizeBytes} bytes`;
}
