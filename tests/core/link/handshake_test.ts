import { assertEquals, assertNotEquals } from "@std/assert";
import { type Frame, FrameReader, FrameType, jsonFrame } from "../../../core/link/frames.ts";
import { Handshake, type HandshakeSelf, type HandshakeStep } from "../../../core/link/handshake.ts";
import { PROTOCOL_VERSION } from "../../../core/link/link_limits.ts";
import type { Refusal } from "../../../core/link/messages.ts";
import type { Bytes } from "../../../core/ports.ts";
import { assertCode, CountingRandom, idOf, must } from "../../support/small.ts";

const SECRET = new TextEncoder().encode("a secret that both know");

function makeSelf(node: string, peer: string | null, change: Partial<HandshakeSelf> = {}) {
  return {
    cluster: "payroll",
    node,
    instance: idOf(node),
    secret: SECRET,
    peer,
    admit: () => null,
    view: null,
    purpose: "link" as const,
    random: new CountingRandom(node.charCodeAt(0)),
    channel: { channelBinding: null, certifiedNames: null },
    ...change,
  };
}

/** A dialling "b" and a listening "a". */
function makeEnds(dial: Partial<HandshakeSelf> = {}, listen: Partial<HandshakeSelf> = {}) {
  const dialler = new Handshake(makeSelf("b", "a", dial));
  const listener = new Handshake(makeSelf("a", null, listen));
  return { dialler, listener };
}

function frameOf(bytes: Bytes | null): Frame {
  must(bytes !== null, "there is a frame to send");
  const reader = new FrameReader();
  reader.room().set(bytes);
  reader.advance(bytes.length);
  const frame = reader.next();
  must(frame !== null);
  return frame;
}

function bodyOf(bytes: Bytes | null): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(frameOf(bytes).body));
}

/** Carries frames to and fro until somebody is done; what each end came to. */
function run(
  ends: { dialler: Handshake; listener: Handshake },
  meddle: (frame: Bytes, step: number) => Bytes = (frame) => frame,
): { dial: HandshakeStep | null; listen: HandshakeStep | null } {
  const last: { dial: HandshakeStep | null; listen: HandshakeStep | null } = {
    dial: null,
    listen: null,
  };
  let frame: Bytes | null = ends.dialler.begin();
  for (let step = 0; frame !== null; step++) {
    const toListener = step % 2 === 0;
    const result: HandshakeStep = (toListener ? ends.listener : ends.dialler)
      .step(frameOf(meddle(frame, step)));
    if (toListener) last.listen = result;
    else last.dial = result;
    frame = result.send;
  }
  return last;
}

/** The refusal as each end saw it; the end that refused tells, the other was told. */
function refusals(last: ReturnType<typeof run>): [Refusal, Refusal] {
  must(last.dial?.kind === "refused", `the dialler: ${last.dial?.kind}`);
  must(last.listen?.kind === "refused", `the listener: ${last.listen?.kind}`);
  return [last.dial.refusal, last.listen.refusal];
}

Deno.test("two ends that know the secret come to know each other", () => {
  const { dial, listen } = run(makeEnds());
  must(dial?.kind === "done" && listen?.kind === "done");
  assertEquals([dial.peer.node, listen.peer.node], ["a", "b"]);
  assertEquals([dial.peer.instance, listen.peer.instance], [idOf("a"), idOf("b")]);
});

Deno.test("the secret travels in no frame", () => {
  const seen: string[] = [];
  run(makeEnds(), (frame) => {
    seen.push(new TextDecoder().decode(frame));
    return frame;
  });
  assertEquals(seen.length, 4);
  must(seen.every((text) => !text.includes("secret")));
});

Deno.test("a wrong secret is refused, and both ends know why", () => {
  const other = new TextEncoder().encode("another secret");
  const [dial, listen] = refusals(run(makeEnds({ secret: other })));
  assertEquals([dial.code, listen.code], ["wrong-secret", "wrong-secret"]);
  assertEquals(dial.message, listen.message);
});

Deno.test("a listener that does not know the secret cannot pass for one that does", () => {
  const ends = makeEnds({}, { secret: new TextEncoder().encode("guess") });
  const welcome = ends.listener.step(frameOf(ends.dialler.begin()));
  const proof = ends.dialler.step(frameOf(welcome.send));
  assertEquals(proof.kind, "wait");
  // It skips its own check of the dialler, and answers with a proof of its own making.
  const faked = jsonFrame(FrameType.PROOF, { mac: "0".repeat(64) });
  const end = ends.dialler.step(frameOf(faked));
  must(end.kind === "refused" && end.send !== null);
  assertEquals(end.refusal.code, "wrong-secret");
});

Deno.test("another cluster is refused by name before any proof", () => {
  const [dial, listen] = refusals(run(makeEnds({ cluster: "other" })));
  assertEquals([dial.code, listen.code], ["wrong-cluster", "wrong-cluster"]);
  must(dial.message.includes("payroll") && dial.message.includes("other"), dial.message);
});

Deno.test("a caller that the node does not admit is told so", () => {
  const refusal: Refusal = { code: "unknown-node", message: "the topology of a has no node b" };
  const [dial, listen] = refusals(run(makeEnds({}, { admit: () => refusal })));
  assertEquals([dial, listen], [refusal, refusal]);
});

Deno.test("a caller that takes this node for another is refused", () => {
  const [dial, listen] = refusals(run(makeEnds({ peer: "c" })));
  assertEquals([dial.code, listen.code], ["unknown-node", "unknown-node"]);
});

Deno.test("a listener that is not the node that was dialled is refused by the dialler", () => {
  const { dialler, listener } = makeEnds({}, { node: "c" });
  const hello = bodyOf(dialler.begin());
  const welcome = listener.step(frameOf(jsonFrame(FrameType.HELLO, { ...hello, peer: "c" })));
  const end = dialler.step(frameOf(welcome.send));
  must(end.kind === "refused" && end.send !== null);
  assertEquals(end.refusal.code, "unknown-node");
});

Deno.test("another protocol version is refused at either end, with both versions", () => {
  for (const step of [0, 1]) {
    const last = run(makeEnds(), (frame, at) => {
      if (at !== step) return frame;
      const hello = { ...bodyOf(frame), protocol: PROTOCOL_VERSION + 1 };
      return jsonFrame(step === 0 ? FrameType.HELLO : FrameType.WELCOME, hello);
    });
    const seen = step === 0
      ? refusals(last)[0]
      : last.dial?.kind === "refused"
      ? last.dial.refusal
      : null;
    assertEquals(seen?.code, "wrong-version");
    must(seen?.message.includes(`${PROTOCOL_VERSION + 1}`) === true, seen?.message);
  }
});

Deno.test("a proof that was overheard does not open another connection", () => {
  const overheard: Bytes[] = [];
  run(makeEnds(), (frame) => {
    overheard.push(frame);
    return frame;
  });
  // The listener's nonce is fresh: its random goes on.
  const listener = new Handshake(makeSelf("a", null, { random: new CountingRandom(99) }));
  const [hello, , proof] = overheard;
  must(hello !== undefined && proof !== undefined);
  listener.step(frameOf(hello));
  const end = listener.step(frameOf(proof));
  must(end.kind === "refused");
  assertEquals(end.refusal.code, "wrong-secret");
});

Deno.test("a reflected hello and a reflected proof prove nothing", () => {
  // Somebody without the secret listens as "a", and sends back what the dialler says.
  const dialler = new Handshake(makeSelf("b", "a"));
  const hello = bodyOf(dialler.begin());
  const reflected = jsonFrame(FrameType.WELCOME, { ...hello, node: "a", peer: "b" });
  const proof = dialler.step(frameOf(reflected));
  must(proof.kind === "wait" && proof.send !== null);
  const end = dialler.step(frameOf(proof.send));
  must(end.kind === "refused");
  assertEquals(end.refusal.code, "wrong-secret");
});

Deno.test("a hello that is reflected as it is does not pass for the dialled node", () => {
  const dialler = new Handshake(makeSelf("b", "a"));
  const hello = bodyOf(dialler.begin());
  const end = dialler.step(frameOf(jsonFrame(FrameType.WELCOME, hello)));
  must(end.kind === "refused");
  assertEquals(end.refusal.code, "unknown-node");
});

Deno.test("a proof is bound to every word of both hellos", () => {
  for (const change of [{ instance: idOf("x") }, { nonce: "ab".repeat(32) }]) {
    for (const step of [0, 1]) {
      const last = run(makeEnds(), (frame, at) => {
        if (at !== step) return frame;
        return jsonFrame(frameOf(frame).type, { ...bodyOf(frame), ...change });
      });
      const [dial, listen] = refusals(last);
      assertEquals([dial.code, listen.code], ["wrong-secret", "wrong-secret"]);
    }
  }
});

Deno.test("every connection has its own nonces and proofs", () => {
  const random = new CountingRandom(1);
  const mine = { random };
  const first = bodyOf(makeEnds(mine).dialler.begin());
  const second = bodyOf(makeEnds(mine).dialler.begin());
  assertNotEquals(first["nonce"], second["nonce"]);
});

Deno.test("each state allows one frame, and a refusal", () => {
  const others = Object.values(FrameType).filter((type) => type !== FrameType.REFUSE);
  const states: [string, FrameType | null, () => Handshake][] = [
    ["hello", FrameType.HELLO, () => makeEnds().listener],
    ["welcome", FrameType.WELCOME, () => {
      const { dialler } = makeEnds();
      dialler.begin();
      return dialler;
    }],
    ["proof of the dialler", FrameType.PROOF, () => {
      const { dialler, listener } = makeEnds();
      listener.step(frameOf(dialler.begin()));
      return listener;
    }],
    ["proof of the listener", FrameType.PROOF, () => {
      const { dialler, listener } = makeEnds();
      dialler.step(frameOf(listener.step(frameOf(dialler.begin())).send));
      return dialler;
    }],
    ["over", null, () => {
      const ends = makeEnds();
      run(ends);
      return ends.listener;
    }],
  ];
  for (const [what, allowed, make] of states) {
    for (const type of others.filter((other) => other !== allowed)) {
      const message = assertCode(
        () => make().step({ type, flags: 0, body: new Uint8Array(0) }),
        "protocol",
      );
      must(message.includes("in handshake state"), what);
    }
    const refusal = { code: "not-ready", message: "later" };
    const step = make().step(frameOf(jsonFrame(FrameType.REFUSE, refusal)));
    must(step.kind === "refused" && step.send === null, what);
  }
});

Deno.test("a hello or proof that is no such thing is a protocol error", () => {
  const bad = [null, 7, "hello", {}, { protocol: 1 }, { mac: "short" }];
  for (const body of bad) {
    const { listener } = makeEnds();
    assertCode(() => listener.step(frameOf(jsonFrame(FrameType.HELLO, body))), "protocol");
    const ends = makeEnds();
    ends.listener.step(frameOf(ends.dialler.begin()));
    assertCode(() => ends.listener.step(frameOf(jsonFrame(FrameType.PROOF, body))), "protocol");
  }
});

Deno.test("a peer whose certificate is for another node is refused by either end before any proof", () => {
  const channel = (...certifiedNames: string[]) => ({ channelBinding: null, certifiedNames });
  assertEquals(
    run(makeEnds({ channel: channel("a") }, { channel: channel("x", "b") })).dial?.kind,
    "done",
  );
  const byListener = makeEnds({}, { channel: channel("c") });
  const refused = byListener.listener.step(frameOf(byListener.dialler.begin()));
  must(refused.kind === "refused");
  assertEquals(refused.refusal, {
    code: "wrong-certificate",
    message: 'the certificate that came with the name "b" is for "c"',
  });
  const byDialler = makeEnds({ channel: channel() }, {});
  const welcome = byDialler.listener.step(frameOf(byDialler.dialler.begin()));
  const answer = byDialler.dialler.step(frameOf(welcome.send));
  must(answer.kind === "refused");
  assertEquals(answer.refusal.code, "wrong-certificate");
  assertEquals(frameOf(answer.send).type, FrameType.REFUSE);
});

Deno.test("a proof is bound to the channel, where there is something to bind it to", () => {
  const channel = (byte: number | null) => ({
    channelBinding: byte === null ? null : new Uint8Array([byte]),
    certifiedNames: null,
  });
  for (
    const [near, far, is] of [[1, 1, "done"], [1, 2, "refused"], [1, null, "refused"]] as const
  ) {
    const ends = run(makeEnds({ channel: channel(near) }, { channel: channel(far) }));
    assertEquals(ends.listen?.kind, is);
    assertEquals(ends.dial?.kind, is);
  }
});
