/**
 * Every frame type, in the version that it came with, with fixed content: what `make_frames.ts` writes as golden files,
 * and what the tests hold against them. Never change an entry: add another.
 *
 * @module
 */
import {
  ACK_BYTES,
  DELTA_HEAD_BYTES,
  echoFrame,
  FLAG_FLUSH_WANTED,
  FRAME_HEADER_BYTES,
  FrameType,
  jsonFrame,
  sealDeltaFrame,
  sealFrame,
  TIDE_BYTES,
  writeAckFrame,
  writeTide,
} from "../../core/link/frames.ts";
import type { Bytes } from "../../core/ports.ts";

const HISTORY = [
  { number: 1, id: "00112233445566778899aabbccddeeff", firstLsn: 0, node: "hq" },
  { number: 3, id: "ffeeddccbbaa99887766554433221100", firstLsn: 4096, node: "hq" },
];
const NONCE = "0123456789abcdef".repeat(4);

/** What the tide of the golden frames says. */
export const GOLDEN_TIDE = {
  stableLsn: 0x1_0000_0010,
  primaryTimeMs: 1_700_000_000_123,
  primaryEndLsn: 2 ** 53 - 16,
  firstLsn: 4096,
};

/** What the ack of the golden frames says. */
export const GOLDEN_ACK = {
  epochId: "ffeeddccbbaa99887766554433221100",
  receivedLsn: 0x1_0000_0020,
  durableLsn: 0x1_0000_0010,
  appliedLsn: 4096,
  groupReceivedLsn: 8192,
  groupDurableLsn: 4112,
};

/** What stands for records in the golden DATA frame. */
export const GOLDEN_RECORDS = Uint8Array.from({ length: 96 }, (_, index) => index);

const DELTA_HEADER = {
  id: "0123456789abcdef".repeat(2),
  cluster: "payroll",
  epochId: "ffeeddccbbaa99887766554433221100",
  fromLsn: 4096,
  source: "volume",
  toLsn: null,
  sinceLsn: 8192,
  full: false,
  volumes: [{ name: "data", sizeBytes: 1 << 30 }],
} as const;

/** The bodies of the frames that carry JSON, by file name. */
export const GOLDEN_MESSAGES = {
  hello: {
    protocol: 1,
    cluster: "payroll",
    node: "metro",
    peer: "hq",
    instance: "0f".repeat(16),
    nonce: NONCE,
  },
  welcome: {
    protocol: 1,
    cluster: "payroll",
    node: "hq",
    peer: "metro",
    instance: "f0".repeat(16),
    nonce: NONCE,
  },
  proof: { mac: NONCE },
  position: {
    history: HISTORY,
    endLsn: 8192,
    stableLsn: 4096,
    volumes: [{ name: "data", sizeBytes: 1 << 30 }],
    base: { data: "blank" },
  },
  accept: { fromLsn: 8192, base: { data: "blank" } },
  refuse: { code: "abandoned-tail", message: "the tail is abandoned", forkLsn: 4096 },
  fetch: { fromLsn: 4096, toLsn: 8192 },
  subtree: {
    links: [{
      name: "metro-dr",
      from: "metro",
      to: "dr",
      mode: "async",
      state: "streaming",
      reason: null,
      received: 8192,
      durable: 4096,
      applied: null,
      lagBytes: 16,
      lagSeconds: 0.25,
      sentBytes: 9999,
      connectedSince: 1_700_000_000_000,
    }],
  },
  delta: {
    header: DELTA_HEADER,
    position: 4096,
    bytesExpected: 1 << 20,
    base: { data: "blank" },
  },
  "delta-end": {
    id: DELTA_HEADER.id,
    toLsn: 65536,
    bodyBytes: 8192,
    records: 3,
    payloadBytes: 8000,
    logBytes: 61440,
    history: HISTORY,
    timeMs: 1_700_000_000_123,
  },
  "delta-ack": {
    id: DELTA_HEADER.id,
    position: 8192,
    durable: 4096,
    cursor: { pass: 2, volume: 0, offset: 12288 },
    refused: null,
  },
  "hash-ask": { id: 7, volume: 1, offset: 1 << 20, length: 8192, wantsData: false },
  hash: {
    id: 7,
    appliedLsn: 65536,
    isHole: false,
    digests: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    data: null,
    refused: null,
  },
  advance: { lsn: 65536 },
} as const;

function data(): Bytes {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + TIDE_BYTES + GOLDEN_RECORDS.length);
  writeTide(frame, FRAME_HEADER_BYTES, GOLDEN_TIDE);
  frame.set(GOLDEN_RECORDS, FRAME_HEADER_BYTES + TIDE_BYTES);
  const body = TIDE_BYTES + GOLDEN_RECORDS.length;
  sealFrame(frame, 0, FrameType.DATA, FLAG_FLUSH_WANTED, body, TIDE_BYTES);
  return frame;
}

function deltaData(): Bytes {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + DELTA_HEAD_BYTES + GOLDEN_RECORDS.length);
  frame.set(GOLDEN_RECORDS, FRAME_HEADER_BYTES + DELTA_HEAD_BYTES);
  sealDeltaFrame(frame, 4096, FLAG_FLUSH_WANTED);
  return frame;
}

function tide(): Bytes {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + TIDE_BYTES);
  writeTide(frame, FRAME_HEADER_BYTES, GOLDEN_TIDE);
  sealFrame(frame, 0, FrameType.TIDE, 0, TIDE_BYTES);
  return frame;
}

function ack(): Bytes {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + ACK_BYTES);
  writeAckFrame(frame, 0, GOLDEN_ACK);
  return frame;
}

function echo(): Bytes {
  return echoFrame(0x1_0000_0010);
}

/** The frames, by file name, in the order of their types. */
export const GOLDEN_FRAMES: readonly { name: string; type: FrameType; make: () => Bytes }[] = [
  ["hello", FrameType.HELLO],
  ["welcome", FrameType.WELCOME],
  ["proof", FrameType.PROOF],
  ["position", FrameType.POSITION],
  ["accept", FrameType.ACCEPT],
  ["refuse", FrameType.REFUSE],
  ["fetch", FrameType.FETCH],
  ["data", FrameType.DATA],
  ["tide", FrameType.TIDE],
  ["ack", FrameType.ACK],
  ["subtree", FrameType.SUBTREE],
  ["delta", FrameType.DELTA],
  ["delta-data", FrameType.DELTA_DATA],
  ["delta-end", FrameType.DELTA_END],
  ["delta-ack", FrameType.DELTA_ACK],
  ["hash-ask", FrameType.HASH_ASK],
  ["hash", FrameType.HASH],
  ["advance", FrameType.ADVANCE],
  ["echo", FrameType.ECHO],
].map(([name, type]) => {
  const file = name as string;
  const special: Record<string, () => Bytes> = { data, tide, ack, echo, "delta-data": deltaData };
  const make = special[file] ?? (() => jsonFrame(type as FrameType, GOLDEN_MESSAGES[file as keyof typeof GOLDEN_MESSAGES]));
  const version = file === "echo" ? 2 : 1;
  return { name: `v${version}-${file}.frame`, type: type as FrameType, make };
});
