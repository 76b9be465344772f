/**
 * The names in certificates.
 */
import { assert, assertEquals } from "@std/assert";
import {
  certificateDnsName,
  certificateUri,
  certifiedNodes,
} from "../../../core/topology/certified_names.ts";

Deno.test("every name of a node has a DNS name of its own", () => {
  const nodes = ["hq", "HQ", "h.q", "h_q", "hq-", "x--hq", "a".repeat(63)];
  const names = nodes.map((node) => certificateDnsName("prod", node));
  assertEquals(new Set(names).size, nodes.length);
  assertEquals(names[0], "hq.prod.cascade.internal");
  for (const name of names) {
    assert(name.split(".").every((label) => /^[a-z0-9][a-z0-9-]{0,62}$/.test(label)), name);
  }
});

Deno.test("a certificate of ours is for its node of its own cascade alone", () => {
  const names = { uris: [certificateUri("prod", "hq")], dns: ["dr1"], commonName: "dr2" };
  assertEquals(certifiedNodes(names, "prod"), ["hq"]);
  assertEquals(certifiedNodes(names, "test"), []);
  assertEquals(certifiedNodes({ ...names, uris: ["cascade://prod"] }, "prod"), []);
});

Deno.test("a certificate of people's own is for the hosts that it names", () => {
  const names = { uris: ["https://hq.example"], dns: ["hq.example", "hq"], commonName: "hq-1" };
  assertEquals(certifiedNodes(names, "prod"), ["hq.example", "hq", "hq-1"]);
  assertEquals(certifiedNodes({ ...names, dns: [], commonName: null }, "prod"), []);
});
