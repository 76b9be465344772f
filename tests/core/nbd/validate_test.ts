import { assertEquals } from "@std/assert";
import { Command, CommandFlag, ErrorNumber } from "../../../core/nbd/constants.ts";
import { PAYLOAD_BYTES_MAX } from "../../../core/nbd/nbd_limits.ts";
import { MemoryBackend } from "./memory_backend.ts";
import { Bench } from "./machine_bench.ts";
import { filled, type RequestFields } from "./wire.ts";

const KIB = 1024;

Deno.test("every wrong request has the error that the text names", () => {
  const size = 64 * KIB;
  const { EINVAL, ENOSPC, EPERM, EOVERFLOW } = ErrorNumber;
  const far = 2n ** 64n - 1n;
  const one = new Uint8Array(1);
  const cases: [string, RequestFields, number, number][] = [
    // What; the request; the error of a writable export, and of a read-only one.
    ["write past the end", { command: 1, offset: size, payload: one }, ENOSPC, EPERM],
    ["write at 2^64 - 1", { command: 1, offset: far, payload: one }, ENOSPC, EPERM],
    ["write across the end", { command: 1, offset: size - 1, payload: filled(2) }, ENOSPC, EPERM],
    ["zeroes past the end", { command: 6, offset: size - 1, length: 2 }, ENOSPC, EPERM],
    ["read past the end", { command: 0, offset: size - 1, length: 2 }, EINVAL, EINVAL],
    ["read at 2^64 - 1", { command: 0, offset: far, length: 1 }, EINVAL, EINVAL],
    ["read of 2^32 - 1", { command: 0, offset: 0, length: 2 ** 32 - 1 }, EINVAL, EINVAL],
    ["trim past the end", { command: 4, offset: size, length: 1 }, EINVAL, EPERM],
    ["cache past the end", { command: 5, offset: size, length: 1 }, EINVAL, EINVAL],
    ["status past the end", { command: 7, offset: size, length: 1 }, EINVAL, EINVAL],
    ["status of nothing", { command: 7, offset: 0, length: 0 }, EINVAL, EINVAL],
    ["flush with an offset", { command: 3, offset: 1 }, EINVAL, EINVAL],
    ["flush with a length", { command: 3, length: 1 }, EINVAL, EINVAL],
    ["unknown command", { command: 8 }, EINVAL, EINVAL],
    ["unknown command 65535", { command: 65535, length: 5 }, EINVAL, EINVAL],
    ["unknown flag", { command: 0, flags: 1 << 5, length: 1 }, EINVAL, EINVAL],
    ["unknown flag, highest", { command: 0, flags: 1 << 15, length: 1 }, EINVAL, EINVAL],
    ["NO_HOLE on a write", { command: 1, flags: 2, payload: one }, EINVAL, EINVAL],
    ["NO_HOLE on a trim", { command: 4, flags: 2, length: 1 }, EINVAL, EINVAL],
    ["DF on a write", { command: 1, flags: 4, payload: one }, EINVAL, EINVAL],
    ["REQ_ONE on a read", { command: 0, flags: 8, length: 1 }, EINVAL, EINVAL],
    ["FAST_ZERO on a trim", { command: 4, flags: 16, length: 1 }, EINVAL, EINVAL],
    ["write", { command: 1, payload: one }, 0, EPERM],
    ["trim", { command: 4, length: 1 }, 0, EPERM],
    ["zeroes", { command: 6, length: 1 }, 0, EPERM],
    ["fast zeroes without a hole", { command: 6, flags: 2 | 16, length: 1 }, 0, EPERM],
    ["write of nothing at the end", { command: 1, offset: size }, 0, EPERM],
    ["zeroes of nothing", { command: 6, offset: size, length: 0 }, 0, EPERM],
    ["trim of nothing", { command: 4, length: 0 }, 0, EPERM],
    ["read of nothing", { command: 0, offset: size, length: 0 }, 0, 0],
    ["cache", { command: 5, length: size }, 0, 0],
    ["flush", { command: 3 }, 0, 0],
  ];
  for (const structured of [false, true]) {
    const options = { structured, blockStatus: structured };
    const writable = new Bench(new MemoryBackend(size), options);
    const readOnly = new Bench(new MemoryBackend(size, { readOnly: true }), options);
    for (const [what, fields, error, errorReadOnly] of cases) {
      const ask = { handle: 5n, ...fields };
      assertEquals(writable.errorOf(ask), error, what);
      assertEquals(readOnly.errorOf(ask), errorReadOnly, `${what}, read-only`);
      // FUA goes with every command.
      const flags = (fields.flags ?? 0) | CommandFlag.FUA;
      assertEquals(writable.errorOf({ ...ask, flags }), error, `${what}, FUA`);
    }
    const big = new Bench(new MemoryBackend(PAYLOAD_BYTES_MAX + 1), options);
    const over = { command: Command.READ, length: PAYLOAD_BYTES_MAX + 1 };
    assertEquals(big.errorOf(over), structured ? EOVERFLOW : EINVAL);
    const df = { command: Command.READ, flags: CommandFlag.DF, length: 1 };
    assertEquals(writable.errorOf(df), structured ? 0 : EINVAL);
    assertEquals(
      big.errorOf({ command: Command.WRITE, payload: new Uint8Array(over.length) }),
      EINVAL,
    );
  }
});

Deno.test("BLOCK_STATUS without a selected context is invalid", () => {
  for (const structured of [false, true]) {
    const bench = new Bench(new MemoryBackend(4096), { structured });
    assertEquals(bench.errorOf({ command: 7, length: 4096 }), ErrorNumber.EINVAL);
  }
});
