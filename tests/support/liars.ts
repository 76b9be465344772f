/**
 * Two whole nodes in memory, and somebody in between who knows what both know: whatever one says, the other may
 * hear something else, in sound frames. What tests of lying peers stand on.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { zstdCompressSync } from "node:zlib";
import type { LinkConfig, NodeConfig } from "../../core/config.ts";
import { CascadeError } from "../../core/errors.ts";
import {
  DELTA_HEAD_BYTES,
  FRAME_HEADER_BYTES,
  FrameType,
  sealFrame,
  TIDE_BYTES,
} from "../../core/link/frames.ts";
import { CascadeNode } from "../../core/node.ts";
import type { Bytes, Connection, Network } from "../../core/ports.ts";
import { ManualClock, settle } from "./manual_clock.ts";
import { MemoryDisk } from "./memory_disk.ts";
import { connectionPair, type PairEnd } from "./pair.ts";
import { CountingRandom, makeLink, MemoryJournal, noHooks } from "./small.ts";

export const VOLUME_BYTES = 1024 * 1024;

/** Who speaks. */
export type Speaker = "a" | "b";

/** What is heard in place of a frame: frames, sealed; nothing: none. */
export type Lie = (speaker: Speaker, frame: Bytes) => Bytes[];

/** A node, and what it stands on. */
export interface Side {
  config: NodeConfig;
  readonly disk: MemoryDisk;
  readonly journal: MemoryJournal;
  node: CascadeNode;
}

/** How to make the two. */
export interface LiarOptions {
  readonly link?: Partial<LinkConfig>;
  /** What the volumes of the primary hold before anything is replicated: makes a first copy due. */
  readonly image?: Uint8Array;
  /** What becomes of frames, from the first on. */
  readonly lie?: Lie;
  /** Both know the tree: they may be promoted, and asked. */
  readonly hasTree?: boolean;
}

/** "a" is the primary, "b" the node below it, which dials. */
export class Liars {
  readonly clock = new ManualClock();
  readonly a: Side;
  readonly b: Side;
  /** What becomes of frames. */
  lie: Lie = (_, frame) => [frame];
  #accept: ((connection: Connection) => void) | null = null;
  #ends: PairEnd[] = [];
  #starts = 0;

  private constructor(a: Side, b: Side) {
    this.a = a;
    this.b = b;
  }

  static async start(options: LiarOptions = {}): Promise<Liars> {
    const link = makeLink({ addresses: ["tcp://a:1"], ...options.link });
    const liars = new Liars(makeSide("a", link), makeSide("b", link));
    if (options.lie !== undefined) liars.lie = options.lie;
    if (options.hasTree === true) {
      const [first, second] = [liars.a, liars.b].map(({ config: { name, role, listen } }) => ({
        ...{ name, role, addresses: listen, hasVolumes: true },
      }));
      const tree = { nodes: [first!, second!], links: [link] };
      for (const side of [liars.a, liars.b]) side.config = { ...side.config, tree };
    }
    if (options.image !== undefined) liars.a.disk.place("/vols/data", options.image);
    liars.b.disk.place("/vols/data", new Uint8Array(VOLUME_BYTES));
    await liars.begin(liars.a);
    await liars.begin(liars.b);
    return liars;
  }

  /** Starts a node on what its disk holds. */
  async begin(side: Side): Promise<void> {
    const { clock } = this;
    const network: Network = {
      dial: () => Promise.resolve(this.#dial()),
      listen: (address, accept) => {
        this.#accept = accept;
        return Promise.resolve({ address, close: () => this.#accept = null });
      },
    };
    const random = new CountingRandom(40 * ++this.#starts);
    const { disk, journal, config } = side;
    const ports = { disk, network, clock, random, journal, hooks: noHooks };
    let failure: unknown = null;
    let isReady = false;
    CascadeNode.start(config, ports).then(async (node) => {
      side.node = node;
      node.done.catch(() => {/* its phase tells */});
      await node.ready;
      isReady = true;
    }).catch((error) => failure = error);
    for (let turn = 0; turn < 1000 && !isReady && failure === null; turn++) await this.pass(20);
    if (failure !== null) throw failure;
    if (!isReady) throw new Error(`${config.name} never began`);
  }

  #dial(): Connection {
    if (this.#accept === null) throw new CascadeError("unreachable", "nobody listens");
    const [b, nearB] = connectionPair();
    const [nearA, a] = connectionPair();
    this.#ends.push(b, nearB, nearA, a);
    this.#carry("b", nearB, nearA);
    this.#carry("a", nearA, nearB);
    this.#accept(a);
    return b;
  }

  /** A connection to the primary, of whoever wants one. */
  visit(): Connection {
    if (this.#accept === null) throw new CascadeError("unreachable", "nobody listens");
    const [near, far] = connectionPair();
    this.#ends.push(near, far);
    this.#accept(far);
    return near;
  }

  async #carry(speaker: Speaker, from: PairEnd, to: PairEnd): Promise<void> {
    let held: Bytes = new Uint8Array(0);
    const into = new Uint8Array(256 * 1024);
    try {
      for (;;) {
        const count = await from.read(into);
        if (count === null) break;
        held = joined(held, into.subarray(0, count));
        for (let size = frameBytes(held); size <= held.length; size = frameBytes(held)) {
          const frame = held.slice(0, size);
          held = held.slice(size);
          for (const heard of this.lie(speaker, frame)) await to.write(heard);
        }
      }
    } catch {
      // One of the ends is gone.
    }
    from.close();
    to.close();
  }

  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 10) {
      this.clock.advance(10);
      await settle(3);
    }
  }

  /** Cuts all connections. */
  cut(): void {
    for (const end of this.#ends.splice(0)) end.close();
  }

  /** A client of the primary writes, and flushes. */
  write(offset: number, length: number, value: number): void {
    const { node } = this.a;
    node.exports[0]!.write(new Uint8Array(length).fill(value), offset);
    node.front.commit();
    node.pipeline.flushNow();
  }

  /** Ends both. */
  async end(): Promise<void> {
    this.cut();
    for (const { node } of [this.a, this.b]) {
      node.onFatal(new CascadeError("stopping", "the end of the test"));
    }
    await settle();
  }
}

function makeSide(name: Speaker, link: LinkConfig): Side {
  const disk = new MemoryDisk();
  for (const folder of ["/nodes", "/vols"]) disk.makeFolder(folder);
  const isPrimary = name === "a";
  const config: NodeConfig = {
    cluster: "payroll",
    name,
    role: isPrimary ? "primary" : "secondary",
    dir: `/nodes/${name}`,
    secret: new Uint8Array(32),
    tls: null,
    listen: isPrimary ? ["tcp://a:1"] : [],
    volumes: [{ name: "data", sizeBytes: VOLUME_BYTES, path: "/vols/data" }],
    log: { budgetBytes: 1024 * 1024, segmentBytes: 64 * 1024, deltaBudgetBytes: 4 * 1024 * 1024 },
    nbd: [],
    capture: "nbd",
    beforeScan: null,
    afterScan: null,
    allowInconsistent: false,
    beforeInconsistent: null,
    applyDelayMs: 0,
    onMark: null,
    hookTimeoutMs: 60_000,
    upstream: isPrimary ? null : link,
    downstream: isPrimary ? [link] : [],
    tree: null,
    startAlone: "always",
    nodeNames: ["a", "b"],
  };
  return { config, disk, journal: new MemoryJournal(), node: null as unknown as CascadeNode };
}

function joined(first: Bytes, second: Bytes): Bytes {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** Bytes of the frame at the head of these; Infinity: that cannot be told yet. */
function frameBytes(bytes: Bytes): number {
  if (bytes.length < FRAME_HEADER_BYTES) return Infinity;
  return FRAME_HEADER_BYTES + new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true);
}

/** What a frame is. */
export function typeOf(frame: Bytes): FrameType {
  return frame[4] as FrameType;
}

const BINARY: readonly FrameType[] = [
  FrameType.DATA,
  FrameType.TIDE,
  FrameType.ACK,
  FrameType.DELTA_DATA,
  FrameType.ECHO,
];

/** Whether the body is JSON. */
export function isJson(frame: Bytes): boolean {
  return !BINARY.includes(typeOf(frame));
}

/** The message of a JSON frame. */
export function messageOf<T>(frame: Bytes): T {
  return JSON.parse(new TextDecoder().decode(frame.subarray(FRAME_HEADER_BYTES)));
}

/** The same frame with another body. */
export function withBody(frame: Bytes, body: Uint8Array, flags = frame[5] ?? 0): Bytes {
  const made = new Uint8Array(FRAME_HEADER_BYTES + body.length);
  made.set(body, FRAME_HEADER_BYTES);
  const type = typeOf(frame);
  const head = headOf(type);
  sealFrame(
    made,
    0,
    type,
    flags,
    body.length,
    head === 0 ? body.length : Math.min(head, body.length),
  );
  return made;
}

/** Bytes before the records of a frame; 0: it has none. */
export function headOf(type: FrameType): number {
  return type === FrameType.DATA
    ? TIDE_BYTES
    : type === FrameType.DELTA_DATA
    ? DELTA_HEAD_BYTES
    : 0;
}

/** The same JSON frame with another message. */
export function withMessage(frame: Bytes, message: unknown): Bytes {
  return withBody(frame, new TextEncoder().encode(JSON.stringify(message)));
}

/** The same frame with another number of 64 bits at a place of its body. */
export function withNumber(frame: Bytes, at: number, value: number): Bytes {
  const body = frame.slice(FRAME_HEADER_BYTES);
  setNumber(body, at, value);
  return withBody(frame, body);
}

export function setNumber(bytes: Bytes, at: number, value: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(at, value % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** The same frame, whose records are changed and sealed again. `change` gets the bytes of each. */
export function withRecords(frame: Bytes, change: (record: Bytes) => Bytes): Bytes {
  const head = FRAME_HEADER_BYTES + headOf(typeOf(frame));
  const made: Bytes[] = [frame.slice(FRAME_HEADER_BYTES, head)];
  for (let at = head; at < frame.length;) {
    const size = recordSize(frame, at);
    made.push(sealRecord(change(frame.slice(at, at + size))));
    at += size;
  }
  return withBody(frame, made.reduce(joined));
}

function recordSize(bytes: Bytes, at: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at);
  const isBare = bytes[at + 8] === 2 || bytes[at + 8] === 3;
  const payload = isBare ? 0 : Math.ceil(view.getUint32(32, true) / 16) * 16;
  return Math.min(48 + payload, bytes.length - at);
}

/** A record with a CRC that fits. */
export function sealRecord(record: Bytes): Bytes {
  const view = new DataView(record.buffer, record.byteOffset);
  view.setUint32(4, crc32(record.subarray(8)), true);
  return record;
}

/** A packed frame that tells of as many bytes as are asked for. */
export function packedAs(frame: Bytes, records: Uint8Array, told: number): Bytes {
  const head = headOf(typeOf(frame));
  const packed = zstdCompressSync(records);
  const body = new Uint8Array(head + packed.length);
  body.set(frame.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + head));
  body.set(packed, head);
  new DataView(body.buffer).setUint32(typeOf(frame) === FrameType.DATA ? 32 : 8, told, true);
  return withBody(frame, body, 2);
}
