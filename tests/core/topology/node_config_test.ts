import { assertEquals, assertThrows } from "@std/assert";
import { CascadeError } from "../../../core/errors.ts";
import { formatExec, parseExec } from "../../../core/topology/address.ts";
import { attachAddress } from "../../../core/topology/hosts.ts";
import { linkNamed, nodeConfig } from "../../../core/topology/node_config.ts";
import { cleanSecret } from "../../../core/topology/secret.ts";
import { parseTopology, topologyOrThrow } from "../../../core/topology/parse.ts";
import type { Topology } from "../../../core/topology/topology.ts";

const SECRET = new TextEncoder().encode("0123456789abcdef");

function sample(name: string): Topology {
  const text = Deno.readTextFileSync(new URL(`../../../samples/${name}`, import.meta.url));
  return topologyOrThrow(parseTopology(text, name, "/srv"));
}

Deno.test("a node's configuration has its links, with what the dialling end dials", () => {
  const config = nodeConfig(sample("four_hosts.yaml"), "metro", SECRET);
  assertEquals(config.cluster, "payroll");
  assertEquals(config.nodeNames, ["hq", "metro", "dr1", "dr2"]);
  assertEquals(config.upstream, {
    name: "hq-metro",
    from: "hq",
    to: "metro",
    mode: "sync",
    onDisconnect: "degrade",
    timeoutMs: 2000,
    onOverflow: "map",
    dial: "to",
    addresses: ["tcp://10.0.0.1:7420"],
    paused: false,
    bandwidth: null,
    compress: "auto",
    schedule: null,
    verify: null,
  });
  assertEquals(config.downstream.map(({ name }) => name), ["metro-dr1", "metro-dr2"]);
  assertEquals(config.volumes, [
    { name: "data", sizeBytes: 10 * 1024 ** 3, path: "/dev/vg0/data" },
  ]);
});

Deno.test("the primary has no upstream, a secondary no downstream", () => {
  const topology = sample("four_hosts.yaml");
  assertEquals(nodeConfig(topology, "hq", SECRET).upstream, null);
  assertEquals(nodeConfig(topology, "dr2", SECRET).downstream, []);
});

Deno.test("a log-only node knows every volume, and a path of none", () => {
  const { volumes } = nodeConfig(sample("bunker.yaml"), "bunker", SECRET);
  assertEquals(volumes, [{ name: "data", sizeBytes: 100 * 1024 ** 3, path: null }]);
});

Deno.test("a link that is dialled from above has what the lower node advertises", () => {
  const { downstream } = nodeConfig(sample("behind_nat.yaml"), "hq", SECRET);
  assertEquals(downstream[0]?.addresses, ["tcp://far.shop.example:17420"]);
});

Deno.test("a link dials what its transports say, in their order", () => {
  const topology = sample("every_transport.yaml");
  const dialled = (node: string) => nodeConfig(topology, node, SECRET).upstream?.addresses;
  assertEquals(dialled("metro"), ["tls://10.0.0.1:7420"]);
  assertEquals(dialled("dr1"), ["quic://10.0.0.1:7420", "tls://10.0.0.1:7420"]);
  const command = "ssh hq.example cascade attach --topology /etc/cascade.yaml --node hq".split(" ");
  assertEquals(dialled("dr2"), [formatExec(command)]);
  assertEquals(parseExec(formatExec(command)), command);
});

Deno.test("a node that is dialled by a command listens for that", () => {
  const { listen } = nodeConfig(sample("every_transport.yaml"), "hq", SECRET);
  assertEquals(listen.at(-1), "unix:/var/lib/cascade/hq/attach.sock");
  const text = Deno.readTextFileSync(
    new URL("../../../samples/every_transport.yaml", import.meta.url),
  )
    .replace("listen: [", "listen: [unix:/run/cascade/link.sock, ");
  const other = topologyOrThrow(parseTopology(text, "x", "/srv"));
  assertEquals(nodeConfig(other, "hq", SECRET).listen.length, 3);
  assertEquals(attachAddress(other.nodes[0]!), "unix:/run/cascade/link.sock");
});

Deno.test("an unknown node or link is answered with the nearest name", () => {
  const topology = sample("four_hosts.yaml");
  const node = assertThrows(() => nodeConfig(topology, "mtero", SECRET), CascadeError);
  assertEquals([node.code, node.hint], ["usage", 'Did you mean "metro"?']);
  const link = assertThrows(() => linkNamed(topology, "metro-dr3"), CascadeError);
  assertEquals([link.code, link.hint], ["usage", 'Did you mean "metro-dr1"?']);
  const far = assertThrows(() => nodeConfig(topology, "elsewhere", SECRET), CascadeError);
  assertEquals(far.hint, "It has hq, metro, dr1 and dr2");
});

Deno.test("a secret loses its line end, and is refused when it is short", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  assertEquals(cleanSecret(bytes("0123456789abcdef\r\n"), "x"), SECRET);
  assertEquals(cleanSecret(bytes("0123456789abcde \n"), "x"), bytes("0123456789abcde "));
  for (const text of ["", "\n", "0123456789abcde\n"]) {
    const error = assertThrows(() => cleanSecret(bytes(text), "x"), CascadeError);
    assertEquals(error.code, "usage");
  }
});
