import { assertEquals, assertThrows } from "@std/assert";
import { CascadeError } from "../../../core/errors.ts";
import { isNbdUri, parseNbdUri } from "../../../core/nbd_client/uri.ts";

Deno.test("NBD URIs are read as libnbd reads them", () => {
  const cases: [uri: string, address: string, exportName: string][] = [
    ["nbd://host/data", "tcp://host:10809", "data"],
    ["nbd://host:99", "tcp://host:99", ""],
    ["nbd://[::1]:99/a%20b", "tcp://[::1]:99", "a b"],
    ["nbd+unix:///data?socket=/run/x.sock", "unix:/run/x.sock", "data"],
    ["nbd+unix:///?socket=/run/x%20y", "unix:/run/x y", ""],
  ];
  for (const [uri, address, exportName] of cases) {
    assertEquals(isNbdUri(uri), true);
    assertEquals(parseNbdUri(uri), { address, exportName, tls: null });
  }
});

Deno.test("over TLS a URI tells of certificates, and whose name is expected", () => {
  const cases: [uri: string, address: string, certificates: string, hostname: string][] = [
    ["nbds://h.example/data?tls-certificates=/c", "tcp://h.example:10809", "/c", "h.example"],
    ["nbds://[::1]:99/data?tls-certificates=./c", "tcp://[::1]:99", "./c", "::1"],
    [
      "nbds+unix:///data?socket=/s&tls-certificates=/c&tls-hostname=hq",
      "unix:/s",
      "/c",
      "hq",
    ],
    ["nbds+unix:///data?socket=/s&tls-certificates=/c", "unix:/s", "/c", "localhost"],
  ];
  for (const [uri, address, certificates, hostname] of cases) {
    const tls = { certificates, hostname };
    assertEquals(parseNbdUri(uri), { address, exportName: "data", tls });
  }
});

Deno.test("a wrong NBD URI is a mistake on the command line", () => {
  const uris = [
    "nbds://host/x",
    "nbds://host/x?tls-certificates=/c&tls-verify-peer=false",
    "nbdx://host/x",
    "nbd:///x",
    "nbd+unix:///x",
    "nbd+unix://h/x?socket=/a",
    "nbd://",
  ];
  for (const uri of [...uris, `nbd+unix:///x?socket=/${"a".repeat(200)}`]) {
    const error = assertThrows(() => parseNbdUri(uri), CascadeError);
    assertEquals([uri, error.code], [uri, "usage"]);
  }
});

Deno.test("paths are not NBD URIs", () => {
  for (const path of ["disk.img", "/dev/nbd0", "./nbd", "nbd.img"]) {
    assertEquals(isNbdUri(path), false);
  }
});
