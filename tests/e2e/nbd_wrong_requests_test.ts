import { assertMatch } from "@std/assert";
import { nbdsh } from "./support/clients.ts";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { isStandIn, startExport } from "./support/export.ts";

const PRELUDE = `
import errno
size = h.get_size()
h.set_strict_mode(0)

def fails(name, call, *allowed):
    try:
        call()
    except nbd.Error as e:
        assert e.errnum in allowed, "%s: errno %r, expected %r" % (name, e.errnum, allowed)
    else:
        raise AssertionError("%s: no error" % name)
    # The connection stays usable after every refusal.
    assert len(h.pread(512, 0)) == 512, name
`;

e2e(
  "requests that the protocol forbids get the error that it names",
  ["nbdsh"],
  async (cleanup) => {
    const served = await startExport(cleanup);
    const script = `
fails("read past the end", lambda: h.pread(512, size), errno.EINVAL)
fails("read across the end", lambda: h.pread(1024, size - 512), errno.EINVAL)
fails("read far away", lambda: h.pread(512, 1 << 62), errno.EINVAL)
fails("write past the end", lambda: h.pwrite(b"x" * 512, size), errno.ENOSPC)
fails("write across the end", lambda: h.pwrite(b"x" * 1024, size - 512), errno.ENOSPC)
fails("trim across the end", lambda: h.trim(1024, size - 512), errno.EINVAL)
fails("zero across the end", lambda: h.zero(1024, size - 512), errno.ENOSPC)
fails("status past the end", lambda: h.block_status(512, size, lambda *a: 0), errno.EINVAL)
fails("unknown flag on a read", lambda: h.pread(512, 0, 0x80), errno.EINVAL)
fails("unknown flag on a write", lambda: h.pwrite(b"x" * 512, 0, 0x80), errno.EINVAL)
fails("unknown flag on a trim", lambda: h.trim(512, 0, 0x80), errno.EINVAL)
fails("unknown flag on a flush", lambda: h.flush(0x80), errno.EINVAL)
fails("status without a context", lambda: h.block_status(512, 0, lambda *a: 0), errno.EINVAL)
`;
    const output = await nbdsh(served.uri, PRELUDE + script);
    assertMatch(output.stdout, /^$/);
  },
);

e2e("what a refused write carried touches nothing", ["nbdsh"], async (cleanup) => {
  const served = await startExport(cleanup);
  await nbdsh(
    served.uri,
    PRELUDE + `
h.pwrite(b"a" * 4096, size - 4096)
fails("write across the end", lambda: h.pwrite(b"x" * 8192, size - 4096), errno.ENOSPC)
assert h.pread(4096, size - 4096) == b"a" * 4096
`,
  );
});

e2e("requests of odd offsets and lengths, and of none, are served", ["nbdsh"], async (cleanup) => {
  const served = await startExport(cleanup);
  await nbdsh(
    served.uri,
    PRELUDE + `
h.pwrite(b"A" * 10000, 0)
h.pwrite(b"b" * 3, 4095)
h.zero(5, 101)
h.trim(7, 5001)
got = h.pread(10000, 0)
want = bytearray(b"A" * 10000)
want[4095:4098] = b"bbb"
want[101:106] = bytes(5)
want[5001:5008] = bytes(7)
assert got == bytes(want)
h.pwrite(b"z", size - 1)
assert h.pread(1, size - 1) == b"z"
big = bytes(range(256)) * (32 * 1024 * 4)
assert len(big) == 32 * 1024 * 1024
h.pwrite(big, 12345)
assert h.pread(len(big), 12345) == big
h.zero(len(big), 12345, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
assert h.pread(len(big), 12345) == bytes(len(big))
`,
  );
});

e2e("a write on one connection is read on every other", ["nbdsh"], async (cleanup) => {
  const served = await startExport(cleanup);
  await nbdsh(
    served.uri,
    `
assert h.can_multi_conn()
others = [nbd.NBD() for i in range(8)]
for other in others:
    other.connect_uri("${served.uri}")
for i in range(100):
    writer = others[i % 8]
    reader = others[(i + 3) % 8]
    writer.pwrite(bytes([i]) * 4096, i * 4096)
    assert reader.pread(4096, i * 4096) == bytes([i]) * 4096
    if i % 10 == 0:
        h.flush()
`,
  );
});

e2e(
  "an export that does not exist is refused, and the others go on",
  ["nbdsh"],
  async (cleanup) => {
    const served = await startExport(cleanup);
    if (isStandIn) return;
    await nbdsh(
      null,
      `
h = nbd.NBD()
try:
    h.connect_uri("nbd+unix:///nothing?socket=${served.socket}")
except nbd.Error as e:
    pass
else:
    raise AssertionError("connected to nothing")
h = nbd.NBD()
h.connect_uri("${served.uri}")
assert h.get_size() == ${served.sizeBytes}
`,
    );
  },
);

e2e(
  "a replica's export shows its applied image and takes no writes",
  ["nbdsh"],
  async (cleanup) => {
    const cluster = Cluster.create(cleanup, {
      nodes: ["hq", "dr"],
      links: [{ from: "hq", to: "dr", mode: "async" }],
      exporting: ["dr"],
    });
    await cluster.start();
    await nbdsh(cluster.uri(), `h.pwrite(b"seen" * 1024, 8192)\nh.flush()`);
    await cluster.converged();
    await nbdsh(
      cluster.uri("dr"),
      PRELUDE + `
assert h.is_read_only()
assert h.pread(4096, 8192) == b"seen" * 1024
fails("write", lambda: h.pwrite(b"x" * 512, 0), errno.EPERM)
fails("trim", lambda: h.trim(512, 0), errno.EPERM)
fails("zero", lambda: h.zero(512, 0), errno.EPERM)
`,
    );
  },
);
