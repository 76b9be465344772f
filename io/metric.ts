/**
 * One metric of a node, and its text in the format of Prometheus.
 *
 * @module
 */

/** What tells the samples of a metric apart. */
export type Labels = Readonly<Record<string, string>>;

/** One line: labels beside the node's, and a value. Null values are left out, as unknown. */
export type Sample = readonly [labels: Labels, value: number | null];

/** A metric, with all its samples. */
export interface Metric {
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** What holds, as a figure. */
export function flag(holds: boolean): number {
  return holds ? 1 : 0;
}

/** A figure of the node itself; null: not known. */
export function gauge(name: string, help: string, value: number | null): Metric {
  return { name, type: "gauge", help, samples: [[{}, value]] };
}

/** A figure of the node itself that only grows while it runs. */
export function counter(name: string, help: string, value: number): Metric {
  return { name, type: "counter", help, samples: [[{}, value]] };
}

/** Figures of a number of things. */
export function many(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, type: "gauge", help, samples };
}

/** Its lines; none when nothing of it is known. */
export function metricText({ name, type, help, samples }: Metric, node: string): string {
  const lines = samples.filter(([, value]) => value !== null)
    .map(([labels, value]) => `${name}{${labelsText({ node, ...labels })}} ${value}\n`);
  if (lines.length === 0) return "";
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

function labelsText(labels: Labels): string {
  return Object.entries(labels).map(([key, value]) => `${key}="${escapeLabel(value)}"`).join(",");
}

function escapeLabel(text: string): string {
  return text.replace(/\\/g, "\\\\").replace(/\n/g, "\\n").replace(/"/g, '\\"');
}
