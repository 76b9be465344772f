import { assertEquals } from "@std/assert";
import { certificateHosts } from "../../../core/topology/certificate_hosts.ts";

Deno.test("a certificate is for all hosts under which clients come, and for no socket", () => {
  const node = {
    listen: ["tls://10.0.0.1:7420", "quic://10.0.0.1:7420", "unix:/run/x.sock"],
    advertise: ["tls://HQ.example:7420"],
    nbd: ["tcp://[fd00::1]:10809"],
  };
  assertEquals(certificateHosts(node, ["disks.example"]), {
    dns: ["disks.example", "hq.example"],
    ips: ["10.0.0.1", "fd00::1"],
  });
});

Deno.test("what listens on any address, or on loopback, is called by the names of this machine", () => {
  for (const host of ["0.0.0.0", "[::]", "localhost", "127.0.0.1"]) {
    const node = { listen: [`tls://${host}:7420`], advertise: null, nbd: [] };
    assertEquals(certificateHosts(node), { dns: ["localhost"], ips: ["127.0.0.1", "::1"] });
  }
});
