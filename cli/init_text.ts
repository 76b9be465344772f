/**
 * The topology that `cascade init` writes: one that runs on this machine as it is, with comments
 * that tell what to change for real hosts.
 *
 * @module
 */

/** What the text depends on. */
export interface InitChoices {
  readonly name: string;
  /** As the user wrote it: `1GiB`. */
  readonly size: string;
  /** Nodes in all, from 2: primary, intermediate (from 3), secondaries. */
  readonly nodeCount: number;
  readonly secretFile: string;
  /** The folder of certificates. */
  readonly certsFolder: string;
  readonly schemaFile: string;
}

const LINK_PORT = 7420;
const ADMIN_PORT = 7430;
const NBD_PORT = 10809;

/** Names of the nodes, the primary first: hq, metro, dr1, dr2, ... */
export function initNodeNames(nodeCount: number): string[] {
  const secondaries = nodeCount < 3 ? nodeCount - 1 : nodeCount - 2;
  const names = Array.from({ length: secondaries }, (_, index) => `dr${index + 1}`);
  return nodeCount < 3 ? ["hq", ...names] : ["hq", "metro", ...names];
}

/** The text of the file. */
export function initText(choices: InitChoices): string {
  const names = initNodeNames(choices.nodeCount);
  const nodes = names.map((name, index) => nodeText(name, index, names));
  const links = names.slice(1).map((name) => linkText(name, names));
  return `# yaml-language-server: $schema=./${choices.schemaFile}
#
# One cascade. Every node runs on this same file. To each host: this file, the secret, and of the
# certificates ca.crt and the two files of its node. After a change: cascade check. To see the
# whole: cascade plan.

cascade: 1                        # version of this format
name: ${scalar(choices.name)}
${`secret: ${scalar(`./${choices.secretFile}`)}`.padEnd(33)} # what all nodes share; or env:NAME
${`certs: ${scalar(`./${choices.certsFolder}`)}`.padEnd(33)} # see: cascade certs show

# All volumes are written to every node in one order. Any number of them.
volumes:
  data: { size: ${choices.size} }

# As it stands, all nodes run on this machine. For hosts of their own: give each its real
# address in listen, and paths that suit it. Links are encrypted, and both ends show a
# certificate. NBD clients (nbd:) are of this machine; for others: nbdTls: required
nodes:
${nodes.join("\n")}
# Who feeds whom.
links:
${links.join("")}`;
}

function nodeText(name: string, index: number, names: readonly string[]): string {
  const isPrimary = index === 0;
  const isMetro = name === "metro";
  const role = isPrimary ? "primary" : isMetro ? "intermediate" : "secondary";
  const roleNote = isPrimary
    ? "takes the writes"
    : isMetro
    ? "receives, and feeds the nodes below"
    : "receives";
  const line = (text: string, note: string) => `    ${text.padEnd(32)}# ${note}\n`;
  const feeds = isPrimary || isMetro;
  const first = index === 0;
  let text = `  ${name}:\n` + line(`role: ${role}`, roleNote);
  text += first ? line(`dir: ./${name}`, "its log and state") : `    dir: ./${name}\n`;
  if (feeds) {
    const listen = `listen: tls://127.0.0.1:${LINK_PORT + index}`;
    text += first ? line(listen, "the nodes below dial this") : `    ${listen}\n`;
  }
  text += first
    ? line(`volumes: { data: ./${name}.img }`, "a file (made if missing) or a block device")
    : `    volumes: { data: ./${name}.img }\n`;
  if (name === "dr1" && names.includes("metro")) {
    text += line("# parents: [metro, hq]", "while metro is away, be fed by hq, and go back");
  }
  if (first) {
    text += line(
      "log: { budget: 1GiB }",
      "a peer may miss so much and need no delta",
    );
    text += line(`nbd: tcp://127.0.0.1:${NBD_PORT}`, "clients use the volumes here; or unix:/PATH");
  } else if (index === names.length - 1) {
    text += line(
      `# nbd: tcp://127.0.0.1:${NBD_PORT + 1}`,
      "its image as it arrives, read-only",
    );
  }
  const admin = `admin: http://127.0.0.1:${ADMIN_PORT + index}`;
  return text + (first ? line(admin, "status, /metrics, /healthz") : `    ${admin}\n`);
}

function linkText(name: string, names: readonly string[]): string {
  const hasMetro = names.includes("metro");
  if (hasMetro && name === "metro") {
    return `  - from: hq
    to: metro
    mode: sync                    # a write is answered when metro has it too
    onDisconnect: degrade         # while metro is away, go on without it; or: fail
    timeout: 5s                   # how long clients wait for it first
`;
  }
  const from = hasMetro ? "metro" : "hq";
  const secondaries = names.filter((other) => other !== "hq" && other !== "metro");
  const head = `  - from: ${from}\n    to: ${name}\n`;
  if (secondaries.length > 1 && name === secondaries.at(-1)) {
    return `${head}    mode: periodic                # what changed, now and then, all or nothing
    every: 15m                    # or: cron: "0 2 * * *"; at once: cascade sync --node ${from}
    # bandwidth: 20MiB/s          # at most; compressed then, where that makes it smaller
`;
  }
  const note = "writes follow as soon as they are durable above";
  return `${head}    mode: async${name === secondaries[0] ? `                   # ${note}` : ""}\n`;
}

/** A YAML scalar that reads back as this very text. */
function scalar(text: string): string {
  const isPlain = /^[A-Za-z./][\w./-]*$/.test(text) &&
    !/^(true|false|null|yes|no|on|off|y|n|\.inf|\.nan)$/i.test(text);
  return isPlain ? text : JSON.stringify(text);
}
