/**
 * `cascade init`: a topology to start from, its secret and certificates, and the schema for editors.
 *
 * @module
 */
import { Argument, Command } from "@commander-js/extra-typings";
import { InvalidArgumentError } from "commander";
import { resolve } from "node:path";
import { CascadeError } from "../core/errors.ts";
import { EXIT, ExitWith } from "./exit.ts";
import { initNodeNames, initText } from "./init_text.ts";
import { examples, sizeArgument, topologyOption } from "./options.ts";
import { printLine, tell } from "./output.ts";

const NODES_DEFAULT = 4;
const NODES_MAX = 16;
const SECRET_BYTES = 32;
const SCHEMA_FILE = "topology.schema.json";

/** The command. */
export function initCommand() {
  return new Command("init")
    .summary("write a topology to start from")
    .description(
      "Write a commented topology that runs on this machine as it is, with a fresh secret beside " +
        "it (readable by you alone), a CA with a certificate for each node, and a JSON Schema for editors.",
    )
    .addArgument(new Argument("[file]", "the file to write, instead of --topology"))
    .addOption(topologyOption())
    .option("--name <name>", "name of the cascade", nameArgument, "cascade")
    .option("--size <size>", "size of its volume", sizeText, "1GiB")
    .option("--nodes <count>", `number of nodes, 2 to ${NODES_MAX}`, countArgument, NODES_DEFAULT)
    .option(
      "--force",
      "overwrite the topology if it exists (never a secret, a key or a certificate)",
    )
    .addHelpText(
      "after",
      examples(
        [
          "Four nodes: hq, then metro in step with it, then dr1, and dr2 now and then",
          "cascade init",
        ],
        ["A primary and one replica", "cascade init --nodes 2 --name payroll --size 20GiB"],
        ["Elsewhere", "cascade init /etc/cascade/topology.yaml"],
      ),
    )
    .action(async (file, options) => {
      await init(file ?? options.topology, options);
    });
}

interface InitOptions {
  readonly name: string;
  readonly size: string;
  readonly nodes: number;
  readonly force?: true | undefined;
}

async function init(path: string, options: InitOptions): Promise<void> {
  const { topologyJsonSchema } = await import("../core/topology/json_schema.ts");
  const { readTopology } = await import("../io/topology_file.ts");
  const slash = path.lastIndexOf("/");
  const folder = slash < 0 ? "" : path.slice(0, slash + 1);
  const secretFile = `${options.name}.secret`;
  const certsFolder = `${options.name}.certs`;
  const { CertificateFolder, LEAF_DAYS } = await import("../io/certificate_folder.ts");
  const certificates = new CertificateFolder(
    options.name,
    resolve(folder + certsFolder),
    resolve(`${folder}${options.name}.ca.key`),
  );
  certificates.checkCanIssue(initNodeNames(options.nodes));
  const text = initText({
    name: options.name,
    size: options.size,
    nodeCount: options.nodes,
    secretFile,
    certsFolder,
    schemaFile: SCHEMA_FILE,
  });
  writeFile(path, text, { exists: options.force === true ? "overwrite" : "refuse" });
  const secretIsNew = writeFile(folder + secretFile, newSecret(), { mode: 0o600, exists: "keep" });
  const schema = JSON.stringify(topologyJsonSchema(), null, 2) + "\n";
  writeFile(folder + SCHEMA_FILE, schema, { exists: "overwrite" });
  const { topology, problems } = readTopology(path);
  if (topology === null) {
    // A path too deep for what the file says, say: the file is there to be looked at.
    const { formatProblem } = await import("../core/topology/problem.ts");
    throw new ExitWith(EXIT.usage, problems.map(formatProblem).join("\n"));
  }
  printLine(`wrote ${path}`);
  printLine(
    secretIsNew
      ? `wrote ${folder}${secretFile}, readable by you alone`
      : `kept  ${folder}${secretFile}, the secret that was there`,
  );
  printLine(`wrote ${folder}${SCHEMA_FILE}, for editors`);
  const { allNodes, issueAll, tellWhere } = await import("./certs_make.ts");
  const holders = allNodes(topology, certificates);
  await issueAll(certificates, holders, LEAF_DAYS);
  tellNext(path, options.nodes);
  tell(`\nFor hosts of their own, edit ${path}, then: cascade check && cascade plan, and copy it.`);
  tellWhere(certificates, holders, [path, folder + secretFile]);
}

function tellNext(path: string, nodeCount: number): void {
  const isDefault = path === "./topology.yaml" || path === "topology.yaml";
  const where = isDefault || Deno.env.get("CASCADE_TOPOLOGY") === path ? "" : ` -t ${path}`;
  tell("\nNext, here on this machine, each in a terminal of its own:\n");
  for (const name of initNodeNames(nodeCount)) tell(`  cascade serve${where} --node ${name}`);
  tell("\nThen:\n");
  tell(`  cascade status${where} --watch`);
  tell("  nbdinfo nbd://127.0.0.1:10809/data");
}

interface WriteOptions {
  readonly exists: "refuse" | "keep" | "overwrite";
  readonly mode?: number;
}

/** Writes a file; false when one was there and was kept. Throws `usage` when it cannot. */
function writeFile(path: string, text: string, { exists, mode }: WriteOptions): boolean {
  try {
    Deno.writeTextFileSync(path, text, {
      createNew: exists !== "overwrite",
      ...(mode === undefined ? {} : { mode }),
    });
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      if (exists === "keep") return false;
      throw new CascadeError("usage", `${path} is there already`, {
        hint: "Overwrite it with --force, or name another file",
      });
    }
    const reason = error instanceof Deno.errors.NotFound
      ? "its folder is not there"
      : error instanceof Error
      ? error.message
      : String(error);
    throw new CascadeError("usage", `${path} cannot be written: ${reason}`, { cause: error });
  }
}

function newSecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
  return bytes.toHex() + "\n";
}

function nameArgument(text: string): string {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/.test(text)) return text;
  throw new InvalidArgumentError("Expected up to 63 letters, digits, dots, dashes, underscores.");
}

function sizeText(text: string): string {
  const bytes = sizeArgument(text);
  if (bytes > 0 && bytes % 512 === 0) return text.trim();
  throw new InvalidArgumentError("Expected a multiple of 512 bytes above 0.");
}

function countArgument(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= 2 && count <= NODES_MAX) return count;
  throw new InvalidArgumentError(`Expected a number from 2 to ${NODES_MAX}.`);
}
