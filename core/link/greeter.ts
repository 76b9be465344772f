/**
 * Greeting on a fresh connection: who is there, and has it proved itself? What follows from that is the
 * business of the hub.
 *
 * @module
 */
import { Handshake } from "./handshake.ts";
import type { LinkHost } from "./host.ts";
import { EXEC_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS } from "./link_limits.ts";
import { type Hello, HELLO_EPOCHS_MAX, type Refusal } from "./messages.ts";
import type { Wire } from "./wire.ts";

/** Who was met, or why nobody was. */
export type Greeting =
  | { readonly kind: "proved"; readonly peer: Hello }
  | { readonly kind: "refused"; readonly refusal: Refusal; readonly byUs: boolean };

/**
 * Shakes hands; `callee`: whom this end has dialled, null at the listening end. Both ends have proved
 * themselves when it settles with `proved`; `heard`: the peer has said something right. Throws what the connection throws, and `protocol`.
 */
export async function greet(
  host: LinkHost,
  wire: Wire,
  callee: string | null,
  purpose: Hello["purpose"],
  heard: () => void,
): Promise<Greeting> {
  const isExec = wire.channel.transport === "exec";
  wire.setDeadline(isExec ? EXEC_HANDSHAKE_TIMEOUT_MS : HANDSHAKE_TIMEOUT_MS, "handshake");
  const handshake = makeHandshake(host, wire.channel, callee, purpose);
  if (callee !== null) wire.send(handshake.begin());
  for (;;) {
    const step = handshake.step(await wire.receive());
    if (step.kind === "wait") heard();
    if (step.send !== null) wire.send(step.send);
    if (step.kind === "wait") continue;
    if (step.kind === "done") {
      wire.setDeadline(null);
      return { kind: "proved", peer: step.peer };
    }
    await wire.drain();
    return { kind: "refused", refusal: step.refusal, byUs: step.send !== null };
  }
}

function makeHandshake(
  host: LinkHost,
  channel: Wire["channel"],
  callee: string | null,
  purpose: Hello["purpose"],
): Handshake {
  const { config, instance, ports } = host;
  return new Handshake({
    cluster: config.cluster,
    node: config.name,
    instance,
    secret: config.secret,
    peer: callee,
    admit: (hello) => callee === null ? admit(host, hello) : null,
    random: ports.random,
    channel,
    view: host.view,
    epochs: host.pipeline.history.epochs.slice(-HELLO_EPOCHS_MAX),
    purpose,
  });
}

/** Judges a caller by its name, before any proof. Whose link it has is a matter of what it proves to know. */
function admit({ config }: LinkHost, hello: Hello): Refusal | null {
  if (config.nodeNames.includes(hello.node)) return null;
  const message = `the topology of ${config.name} has no node "${hello.node}"`;
  return { code: "unknown-node", message };
}
