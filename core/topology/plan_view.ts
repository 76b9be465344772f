/**
 * Drawings of a plan: a tree for the terminal, Mermaid and Graphviz dot for documents. Pure
 * functions of the plan, so that each is one text to compare in a test.
 *
 * @module
 */
import type { Plan, PlanLink, PlanNode } from "./plan.ts";
import { formatDuration, formatSize } from "./units.ts";

/** How names and modes stand out in the tree; the identity when there is no colour. */
export interface PlanPaint {
  bold(text: string): string;
  dim(text: string): string;
  green(text: string): string;
  cyan(text: string): string;
}

/** What a link does, in a few words: `sync, degrade after 5s`. */
function describeLink(link: PlanLink): string {
  const words: string[] = [link.mode];
  if (link.onDisconnect !== null && link.timeoutMs !== null) {
    words.push(`${link.onDisconnect} after ${formatDuration(link.timeoutMs)}`);
  }
  if (link.everyMs !== null) words.push(`every ${formatDuration(link.everyMs)}`);
  if (link.cron !== null) words.push(`at ${link.cron}`);
  if (link.window !== null) words.push(`within ${link.window}`);
  if (link.bandwidth !== null) words.push(`at most ${link.bandwidth}`);
  if (link.dial === "from") words.push("dialled from above");
  if (link.paused) words.push("paused");
  return words.join(", ");
}

function describeRole(node: PlanNode): string {
  return node.logOnly ? `${node.role}, log only` : node.role;
}

/** What a node has, one line each: log, volumes, addresses. */
function describeNode(node: PlanNode): string[] {
  const { budgetBytes, segmentBytes } = node.log;
  const lines = [
    `dir     ${node.dir}`,
    `log     ${formatSize(budgetBytes)} in segments of ${formatSize(segmentBytes)}`,
  ];
  for (const [name, path] of Object.entries(node.volumes ?? {})) {
    lines.push(`volume  ${name}: ${path}`);
  }
  if (node.listen.length > 0) lines.push(`listen  ${node.listen.join("  ")}`);
  if (node.nbd.length > 0) {
    const readOnly = node.role === "primary" ? "" : "  (read-only)";
    lines.push(`nbd     ${node.nbd.join("  ")}${readOnly}`);
  }
  if (node.admin !== null) lines.push(`admin   ${node.admin}`);
  return lines;
}

/** The cascade as a tree, the primary on top. With `details`, what each node has. */
export function drawText(plan: Plan, paint: PlanPaint, details: boolean): string {
  const volumes = plan.volumes.map(({ name, sizeBytes }) => `${name} ${formatSize(sizeBytes)}`);
  const lines = [`${paint.bold(plan.name)}  ${paint.dim(volumes.join(", "))}`, ""];
  const draw = (node: PlanNode, head: string, indent: string): void => {
    const children = plan.links.filter((link) => link.from === node.name);
    const exports = details || node.nbd.length === 0 ? "" : `, nbd ${node.nbd.join(" ")}`;
    lines.push(
      `${head}${paint.bold(node.name)}  ${paint.dim(`${describeRole(node)}${exports}`)}`,
    );
    const rail = children.length > 0 ? "│   " : "    ";
    if (details) {
      for (const line of describeNode(node)) lines.push(`${indent}${rail}${paint.dim(line)}`);
    }
    for (const [index, link] of children.entries()) {
      const child = plan.nodes.find(({ name }) => name === link.to);
      if (child === undefined) continue;
      const isLast = index === children.length - 1;
      const mode = link.mode === "sync" ? paint.green : paint.cyan;
      const arrow = `${isLast ? "└" : "├"}── ${mode(describeLink(link))} ──▶ `;
      draw(child, indent + arrow, indent + (isLast ? "    " : "│   "));
    }
  };
  const [top] = plan.nodes;
  if (top !== undefined) draw(top, "", "");
  return lines.join("\n") + "\n";
}

/** The cascade as a Mermaid flowchart. */
export function drawMermaid(plan: Plan): string {
  const ids = new Map(plan.nodes.map(({ name }, index) => [name, `n${index}`]));
  const lines = ["flowchart TD"];
  for (const node of plan.nodes) {
    const shape = node.logOnly ? ["([", "])"] : node.role === "primary" ? ["[[", "]]"] : ["[", "]"];
    lines.push(
      `  ${ids.get(node.name)}${shape[0]}"${node.name}<br/>${describeRole(node)}"${shape[1]}`,
    );
  }
  for (const link of plan.links) {
    const line = link.paused || link.mode === "periodic"
      ? "-.->"
      : link.mode === "sync"
      ? "==>"
      : "-->";
    lines.push(`  ${ids.get(link.from)} ${line}|"${describeLink(link)}"| ${ids.get(link.to)}`);
  }
  return lines.join("\n") + "\n";
}

/** The cascade as a Graphviz digraph. */
export function drawDot(plan: Plan): string {
  const lines = [`digraph ${JSON.stringify(plan.name)} {`, "  node [shape=box];"];
  for (const node of plan.nodes) {
    const style = node.logOnly ? ", style=dashed" : node.role === "primary" ? ", style=bold" : "";
    const label = JSON.stringify(`${node.name}\n${describeRole(node)}`);
    lines.push(`  ${JSON.stringify(node.name)} [label=${label}${style}];`);
  }
  for (const link of plan.links) {
    const style = link.paused || link.mode === "periodic"
      ? ", style=dashed"
      : link.mode === "sync"
      ? ", style=bold"
      : "";
    const ends = `${JSON.stringify(link.from)} -> ${JSON.stringify(link.to)}`;
    lines.push(`  ${ends} [label=${JSON.stringify(describeLink(link))}${style}];`);
  }
  return lines.join("\n") + "\n}\n";
}
