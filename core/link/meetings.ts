/**
 * Connections from their first byte to the link that they serve: those that come, those that were dialled
 * for a link, and those that are there only to hear and to tell what is known of the tree.
 *
 * @module
 */
import { CascadeError, describeError, isCascadeError } from "../errors.ts";
import type { Connection } from "../ports.ts";
import { StrangerJournal } from "../stranger_journal.ts";
import type { DialEnd, Link } from "./dialler.ts";
import { addressOf, Doorkeeper, type Pass } from "./doorkeeper.ts";
import { FrameType, jsonFrame, unexpectedFrame } from "./frames.ts";
import { greet } from "./greeter.ts";
import type { LinkHost } from "./host.ts";
import { UNPROVED_CONNECTIONS_MAX } from "./link_limits.ts";
import { answerSchema, type Ask, type AskAnswer, askSchema, valueOf } from "../tree/asks.ts";
import { decodeMessage, type Hello, type Refusal } from "./messages.ts";
import { Wire } from "./wire.ts";

/** Refusals that time may mend: the redial goes on with ordinary patience. */
const PASSING: readonly Refusal["code"][] = ["not-ready", "already-connected"];

/** Refusals of who is no node of this cluster, for all that can be told. */
const UNPROVED: readonly Refusal["code"][] = [
  "wrong-cluster",
  "unknown-node",
  "wrong-certificate",
  "wrong-secret",
];

/** Whoever hangs up was not wrong, nor who was turned out. */
function isMistaken(error: unknown): boolean {
  return isCascadeError(error, "protocol") || isCascadeError(error, "timed-out");
}

/** A connection that ended sooner served nobody: what ended it may do so again, and again. */
const SERVED_MS = 1_000;

/** How long the answer to a question may take, beside its own time, ms. */
export const ANSWER_TIMEOUT_MS = 10_000;

/** Whom this end has dialled; without a link: only to hear and to tell, or for a question. */
export interface Callee {
  readonly node: string;
  readonly link: Link | null;
  readonly inquiry?: Inquiry;
}

/** A question to a node, and what came of it. */
interface Inquiry {
  readonly question: Ask;
  readonly timeoutMs: number;
  isSent: boolean;
  answer: AskAnswer | null;
}

/** What meetings ask of the hub. */
export interface LinkBook {
  /** The link to that node, as the tree is now. */
  readonly linkTo: (node: string) => Link | undefined;
  /** Whether this end is the one that dials. */
  readonly dials: (link: Link) => boolean;
}

/** See the module's text. */
export class Meetings {
  readonly #host: LinkHost;
  readonly #book: LinkBook;
  readonly #wires = new Set<Wire>();
  readonly #strangers: StrangerJournal;
  readonly #door: Doorkeeper;
  #answering = 0;
  #stopped = false;

  constructor(host: LinkHost, book: LinkBook) {
    this.#host = host;
    this.#book = book;
    this.#strangers = new StrangerJournal(host.ports.journal, host.ports.clock);
    this.#door = new Doorkeeper(host.ports.clock, UNPROVED_CONNECTIONS_MAX);
  }

  /** Somebody has dialled this node. */
  accept(connection: Connection): void {
    if (this.#stopped) return connection.close();
    const wire = new Wire(connection, this.#host.ports.clock);
    const { remote } = wire;
    const crowd = "others came meanwhile, and all places for strangers were taken";
    const turnOut = () => wire.close(new CascadeError("refused", crowd));
    const pass = this.#door.enter(addressOf(remote), turnOut);
    this.#wires.add(wire);
    wire.whenClosed.then(pass.left);
    this.#receive(wire, pass).catch((error) => {
      const { isProved } = pass;
      if (isMistaken(error) && !isProved) pass.failed();
      const when = isProved ? "after" : "before";
      this.#strangers.write("warn", `a connection was dropped ${when} it proved itself`, {
        remote,
        ...(isCascadeError(error) ? { code: error.code } : {}),
        reason: describeError(error),
      });
    }).finally(pass.left);
  }

  /** Not before its time, if it comes from where others failed. */
  async #receive(wire: Wire, pass: Pass): Promise<void> {
    if (!await pass.admitted && !wire.closed) wire.close();
    await this.meet(wire, null, pass);
  }

  /**
   * Shakes hands, and serves the link that follows from it to its end. `callee`: whom this end has dialled;
   * null at the listening end. Throws what ends the connection.
   */
  async meet(wire: Wire, callee: Callee | null, pass: Pass | null = null): Promise<DialEnd> {
    this.#wires.add(wire);
    try {
      const purpose = purposeOf(callee);
      const heard = () => pass?.heard();
      const greeting = await greet(this.#host, wire, callee?.node ?? null, purpose, heard);
      if (greeting.kind === "refused") {
        const { refusal, byUs } = greeting;
        if (UNPROVED.includes(refusal.code)) pass?.failed();
        this.#tellRefusal(refusal, callee?.link ?? null, wire.remote, byUs);
        return endOf(refusal);
      }
      pass?.proved();
      return await this.#goOn(wire, greeting.peer, callee);
    } catch (error) {
      throw wire.reasonOf(error);
    } finally {
      wire.close();
      this.#wires.delete(wire);
    }
  }

  /** Both ends are proved: what they know of the tree is shared, and what link they have then is served. */
  async #goOn(wire: Wire, peer: Hello, callee: Callee | null): Promise<DialEnd> {
    const conflict = await this.#host.meet(peer);
    if (callee?.inquiry !== undefined) return await ask(wire, callee.inquiry);
    if (peer.purpose === "ask") return await this.#answer(wire);
    const isLook = peer.purpose === "view" || (callee !== null && callee.link === null);
    if (wire.closed || this.#stopped || (isLook && conflict === null)) return "served";
    const link = this.#book.linkTo(peer.node);
    // What was dialled for may be another's by now.
    if (callee !== null && callee.link !== null && callee.link !== link && conflict === null) {
      return "served";
    }
    const refusal = conflict ?? this.#refusalOf(link, peer, callee === null);
    if (refusal !== null || link === undefined) {
      if (refusal !== null) await this.#refuse(wire, refusal, callee?.link ?? null);
      return "refused";
    }
    const { clock } = this.#host.ports;
    const sinceMs = clock.monotonicMs();
    await link.serve(wire, peer);
    if (link.refusal !== null) return endOf(link.refusal);
    return clock.monotonicMs() - sinceMs < SERVED_MS ? "brief" : "served";
  }

  async #refuse(wire: Wire, refusal: Refusal, link: Link | null): Promise<void> {
    this.#tellRefusal(refusal, link, wire.remote, true);
    wire.send(jsonFrame(FrameType.REFUSE, refusal));
    await wire.drain();
  }

  /** Why a proved peer has no link to this node, or not now. */
  #refusalOf(link: Link | undefined, peer: Hello, isListening: boolean): Refusal | null {
    const { name } = this.#host.config;
    if (link === undefined) {
      const message = `${name} has no link to "${peer.node}", as it knows the cascade`;
      return { code: "no-link", message };
    }
    // Once the tree has changed, files of different ages need not agree on who dials.
    if (isListening && this.#book.dials(link) && this.#host.view === null) {
      const message = `by the topology of ${name}, ${name} dials ${peer.node}`;
      return { code: "no-link", message };
    }
    return pausedRefusal(link) ?? link.admitProved(peer);
  }

  /** The peer asks one question. */
  async #answer(wire: Wire): Promise<DialEnd> {
    wire.setDeadline(ANSWER_TIMEOUT_MS, "question");
    const { type, body } = await wire.receive();
    if (type !== FrameType.ASK) throw unexpectedFrame(type);
    wire.setDeadline(null);
    const question = decodeMessage(askSchema, body, "question");
    this.#answering++;
    try {
      wire.send(jsonFrame(FrameType.ANSWER, await this.#host.answer(question)));
      await wire.drain();
    } finally {
      this.#answering--;
    }
    return "served";
  }

  /** Whether an answer is on its way to whoever asked. */
  get isAnswering(): boolean {
    return this.#answering > 0;
  }

  /**
   * Asks a node at one of its addresses; `timeoutMs`: what the answer itself may take. Throws `unreachable`, and what
   * the node answered in place of an answer.
   */
  async ask(
    node: string,
    addresses: readonly string[],
    question: Ask,
    timeoutMs: number,
  ): Promise<unknown> {
    const inquiry: Inquiry = {
      question,
      timeoutMs: timeoutMs + ANSWER_TIMEOUT_MS,
      isSent: false,
      answer: null,
    };
    await this.#visit(node, addresses, inquiry);
    const { answer } = inquiry;
    if (answer === null) throw new CascadeError("connection-lost", `${node} did not answer`);
    return valueOf(answer);
  }

  /**
   * Dials a node at one of its addresses, exchanges with it what both know of the tree, and hangs up, or serves `link`
   * with it. Throws `unreachable`, `refused`, and what a connection throws.
   */
  async look(node: string, addresses: readonly string[], link: Link | null): Promise<void> {
    await this.#visit(node, addresses, null, link);
  }

  async #visit(
    node: string,
    addresses: readonly string[],
    inquiry: Inquiry | null,
    link: Link | null = null,
  ): Promise<void> {
    const { network, clock } = this.#host.ports;
    let failure: unknown = new CascadeError("unreachable", `${node} has no address to dial`);
    for (const address of addresses) {
      try {
        const connection = await network.dial(address, node);
        if (this.#stopped) return connection.close();
        const callee = { node, link, ...(inquiry === null ? {} : { inquiry }) };
        const end = await this.meet(new Wire(connection, clock), callee);
        if (end !== "refused") return;
        failure = new CascadeError("refused", `${node} refused`);
      } catch (error) {
        failure = error;
        // It was asked, and may have acted.
        if (inquiry?.isSent) break;
      }
    }
    throw failure;
  }

  #tellRefusal(refusal: Refusal, link: Link | null, remote: string, byUs: boolean): void {
    link?.refused(refusal);
    // A paused link says so in its state, once; its peer asks every two seconds.
    const level = refusal.code === "paused" ? "debug" : "warn";
    const journal = link === null ? this.#strangers : this.#host.ports.journal;
    journal.write(level, byUs ? "refused a connection" : "was refused", {
      ...(link === null ? {} : { link: link.config.name }),
      remote,
      code: refusal.code,
      reason: refusal.message,
    });
  }

  /** Closes all connections; none is taken any more. */
  stop(): void {
    this.#stopped = true;
    const error = new CascadeError("stopping", "the node stops", { retryable: true });
    for (const wire of this.#wires) wire.close(error);
    this.#strangers.close();
  }
}

function purposeOf(callee: Callee | null): Hello["purpose"] {
  if (callee === null || callee.link !== null) return "link";
  return callee.inquiry === undefined ? "view" : "ask";
}

async function ask(wire: Wire, inquiry: Inquiry): Promise<DialEnd> {
  wire.setDeadline(inquiry.timeoutMs, "answer");
  inquiry.isSent = true;
  wire.send(jsonFrame(FrameType.ASK, inquiry.question));
  const { type, body } = await wire.receive();
  if (type !== FrameType.ANSWER) throw unexpectedFrame(type);
  inquiry.answer = decodeMessage(answerSchema, body, "answer");
  return "served";
}

function endOf(refusal: Refusal): DialEnd {
  if (PASSING.includes(refusal.code)) return "served";
  // A paused link goes on whenever its operator likes: it is asked now and then. A peer with an abandoned tail
  // leaves that behind by itself, and comes again.
  const isAwaited = refusal.code === "paused" || refusal.wonBy !== undefined;
  return isAwaited ? "failed" : "refused";
}

function pausedRefusal(link: Link): Refusal | null {
  const message = link.pausedWhy;
  return message === null
    ? null
    : { code: "paused", message: `link ${link.config.name} is ${message}` };
}
