/**
 * The handshake of a link: who is there, and does it know the secret? A machine, fed frames.
 *
 *     dialling end                              listening end
 *     HELLO  version cluster names nonce   -->  checks them
 *            checks them                   <--  WELCOME  the same of its own
 *     PROOF  HMAC(secret, "dial", both)    -->  checks it
 *            checks it                     <--  PROOF  HMAC(secret, "listen", both)
 *
 * "both" is the text of the two hellos, so a proof is bound to both names, both fresh nonces and
 * both instances, and cannot be replayed or reflected. The secret never travels. Where the transport knows
 * something that only the ends of this very connection know, a proof is bound to that, too: a man in between
 * cannot pass it on. A name in a hello that the peer's certificate is not for ends it before any proof. Either end
 * answers with REFUSE and the reason when it will not go on. (The shape is that of SCRAM and of
 * ISO/IEC 9798-4, mutual authentication in three passes.)
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import { CascadeError } from "../errors.ts";
import type { Bytes, Connection, Random } from "../ports.ts";
import { type Frame, FrameType, jsonFrame } from "./frames.ts";
import type { Epoch } from "../history.ts";
import type { View } from "../tree/view.ts";
import { PROTOCOL_VERSION } from "./link_limits.ts";
import {
  decodeMessage,
  type Hello,
  helloSchema,
  proofSchema,
  type Refusal,
  refuseSchema,
} from "./messages.ts";

/** Who this node is, and whom it would speak to. */
export interface HandshakeSelf {
  readonly cluster: string;
  readonly node: string;
  readonly instance: string;
  readonly secret: Uint8Array;
  /** The dialling end names the node that it dials; null when listening. */
  readonly peer: string | null;
  /** Judges a peer that has said its name, before any proof: null, or why not. */
  readonly admit: (peer: Hello) => Refusal | null;
  readonly random: Random;
  /** What this node tells of the tree. */
  readonly view: View | null;
  /** Of its history the last reigns. */
  readonly epochs?: readonly Epoch[];
  /** Of the dialling end: what it wants. */
  readonly purpose: Hello["purpose"];
  /** What the transport knows of the connection; see the port. */
  readonly channel: Pick<Connection, "channelBinding" | "certifiedNames">;
}

/** What a step leads to. */
export type HandshakeStep =
  | { readonly kind: "wait"; readonly send: Bytes | null }
  | { readonly kind: "done"; readonly send: Bytes | null; readonly peer: Hello }
  /** `send` tells the peer; null when it was the peer who refused. */
  | {
    readonly kind: "refused";
    readonly send: Bytes | null;
    readonly refusal: Refusal;
    readonly peer: Hello | null;
  };

/** Of the names in a stranger's certificate, what a message shows. */
const CERTIFIED_NAMES_SHOWN = 3;
const CERTIFIED_NAMES_LENGTH_MAX = 400;

type State = "hello" | "welcome" | "proof-of-dialler" | "proof-of-listener" | "over";

/** See the module's text. States and the one frame that each allows. */
const EXPECTED: Record<State, FrameType | null> = {
  "hello": FrameType.HELLO,
  "welcome": FrameType.WELCOME,
  "proof-of-dialler": FrameType.PROOF,
  "proof-of-listener": FrameType.PROOF,
  "over": null,
};

export class Handshake {
  readonly #self: HandshakeSelf;
  #state: State;
  #mine = "";
  #theirs = "";
  #peer: Hello | null = null;

  constructor(self: HandshakeSelf) {
    this.#self = self;
    this.#state = self.peer === null ? "hello" : "welcome";
  }

  /** The first frame of the dialling end. */
  begin(): Bytes {
    return this.#hello(FrameType.HELLO, this.#self.peer ?? "");
  }

  #hello(type: FrameType, peer: string): Bytes {
    const { cluster, node, instance, random, view, purpose, epochs } = this.#self;
    const nonce = Buffer.from(random.bytes(32)).toString("hex");
    const hello: Hello = {
      protocol: PROTOCOL_VERSION,
      cluster,
      node,
      peer,
      instance,
      nonce,
      view,
      ...(view === null || epochs === undefined ? {} : { epochs: [...epochs] }),
      purpose,
    };
    this.#mine = JSON.stringify(hello);
    return jsonFrame(type, hello);
  }

  /** Takes a frame. Throws `protocol` on one that does not belong here. */
  step(frame: Frame): HandshakeStep {
    if (frame.type === FrameType.REFUSE) {
      this.#state = "over";
      const refusal = decodeMessage(refuseSchema, frame.body, "refusal");
      return { kind: "refused", send: null, refusal, peer: this.#peer };
    }
    if (frame.type !== EXPECTED[this.#state]) {
      throw new CascadeError("protocol", `frame ${frame.type} in handshake state ${this.#state}`);
    }
    return frame.type === FrameType.PROOF ? this.#onProof(frame) : this.#onHello(frame);
  }

  #onHello(frame: Frame): HandshakeStep {
    const hello = decodeMessage(helloSchema, frame.body, "hello");
    this.#peer = hello;
    this.#theirs = new TextDecoder().decode(frame.body);
    const refusal = this.#judge(hello);
    if (refusal !== null) return this.#refuse(refusal);
    if (this.#state === "hello") {
      this.#state = "proof-of-dialler";
      return { kind: "wait", send: this.#hello(FrameType.WELCOME, hello.node) };
    }
    this.#state = "proof-of-listener";
    return { kind: "wait", send: jsonFrame(FrameType.PROOF, { mac: this.#mac("dial") }) };
  }

  #judge(hello: Hello): Refusal | null {
    const { cluster, node, peer, admit } = this.#self;
    if (hello.protocol !== PROTOCOL_VERSION) {
      const message = `${node} speaks link protocol ${PROTOCOL_VERSION}, ${hello.node} speaks ` +
        `${hello.protocol}: run versions of cascade that fit each other`;
      return { code: "wrong-version", message };
    }
    if (hello.cluster !== cluster) {
      const message =
        `${node} belongs to cluster "${cluster}", ${hello.node} to "${hello.cluster}"`;
      return { code: "wrong-cluster", message };
    }
    if (hello.peer !== node || (peer !== null && hello.node !== peer)) {
      const message = `${hello.node} asks for node "${hello.peer}", but this is "${node}"` +
        (peer === null ? "" : `, which asks for "${peer}"`);
      return { code: "unknown-node", message };
    }
    return this.#judgeCertificate(hello) ?? admit(hello);
  }

  #judgeCertificate(hello: Hello): Refusal | null {
    const { certifiedNames } = this.#self.channel;
    if (certifiedNames === null || certifiedNames.includes(hello.node)) return null;
    const names = certifiedNames.slice(0, CERTIFIED_NAMES_SHOWN).map((name) => `"${name}"`);
    const owner = names.length === 0
      ? `no node of cluster "${this.#self.cluster}"`
      : names.join(" and ").slice(0, CERTIFIED_NAMES_LENGTH_MAX);
    const message = `the certificate that came with the name "${hello.node}" is for ${owner}`;
    return { code: "wrong-certificate", message };
  }

  #onProof(frame: Frame): HandshakeStep {
    const { mac } = decodeMessage(proofSchema, frame.body, "proof");
    const listening = this.#state === "proof-of-dialler";
    const expected = this.#mac(listening ? "dial" : "listen");
    if (!timingSafeEqual(Buffer.from(mac, "hex"), Buffer.from(expected, "hex"))) {
      const message = `the secret of ${this.#self.node} and of ${this.#peer?.node} differ`;
      return this.#refuse({ code: "wrong-secret", message });
    }
    this.#state = "over";
    const peer = this.#peer as Hello;
    const send = listening ? jsonFrame(FrameType.PROOF, { mac: this.#mac("listen") }) : null;
    return { kind: "done", send, peer };
  }

  #mac(side: "dial" | "listen"): string {
    const listening = this.#self.peer === null;
    const dialler = listening ? this.#theirs : this.#mine;
    const listener = listening ? this.#mine : this.#theirs;
    const { channelBinding } = this.#self.channel;
    const bound = channelBinding === null ? "" : `\n${Buffer.from(channelBinding).toString("hex")}`;
    return createHmac("sha256", this.#self.secret)
      .update(`cascade link ${PROTOCOL_VERSION}\n${side}\n${dialler}\n${listener}${bound}`)
      .digest("hex");
  }

  #refuse(refusal: Refusal): HandshakeStep {
    this.#state = "over";
    return {
      kind: "refused",
      send: jsonFrame(FrameType.REFUSE, refusal),
      refusal,
      peer: this.#peer,
    };
  }
}
