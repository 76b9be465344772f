/**
 * `cascade plan`: draws a cascade from its topology.
 *
 * @module
 */
import { Argument, Command, Option } from "@commander-js/extra-typings";
import { CascadeError } from "../core/errors.ts";
import { examples, topologyOption } from "./options.ts";
import { paintFor, print, printJson } from "./output.ts";

const FORMATS = ["text", "mermaid", "dot", "json", "svg"] as const;

/** The command. */
export function planCommand() {
  return new Command("plan")
    .summary("draw the cascade")
    .description("Draw the cascade that a topology describes. Nothing is started or asked.")
    .addArgument(new Argument("[file]", "the topology file, instead of --topology"))
    .addOption(topologyOption())
    .addOption(
      new Option("-f, --format <format>", "how to draw it").choices(FORMATS).default(
        "text" as const,
      ),
    )
    .option("--json", "the same as --format json")
    .option("-v, --verbose", "for text: also folders, logs, volumes and addresses of each node")
    .addHelpText(
      "after",
      examples(
        ["Who feeds whom?", "cascade plan"],
        ["With paths and addresses", "cascade plan --verbose"],
        ["For a README", "cascade plan --format mermaid"],
        ["As a picture", "cascade plan --format dot | dot -Tsvg > cascade.svg"],
        ["For a script", "cascade plan --json | jq -r '.nodes[].name'"],
      ),
    )
    .action(async (file, options) => {
      await plan(
        file ?? options.topology,
        options.json === true ? "json" : options.format,
        options.verbose === true,
      );
    });
}

async function plan(
  path: string,
  format: (typeof FORMATS)[number],
  verbose: boolean,
): Promise<void> {
  if (format === "svg") {
    throw new CascadeError("usage", "--format svg is not available in this version", {
      hint: "Use: cascade plan --format dot | dot -Tsvg",
    });
  }
  const { loadTopology } = await import("../io/topology_file.ts");
  const { planOf } = await import("../core/topology/plan.ts");
  const view = await import("../core/topology/plan_view.ts");
  const drawn = planOf(loadTopology(path));
  if (format === "json") printJson(drawn);
  else if (format === "mermaid") print(view.drawMermaid(drawn));
  else if (format === "dot") print(view.drawDot(drawn));
  else print(view.drawText(drawn, paintFor(Deno.stdout), verbose));
}
