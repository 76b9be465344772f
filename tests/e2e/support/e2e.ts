/**
 * The frame of an end-to-end test: it names the programs that it needs, and cleans up after itself.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { PATH } from "./programs.ts";

/** Where each program comes from, for the line that says what is missing. */
const PACKAGES: Record<string, string> = {
  nbdinfo: "libnbd-bin",
  nbdcopy: "libnbd-bin",
  nbdfuse: "libnbd-bin (and fuse3)",
  nbdsh: "python3-libnbd",
  "qemu-io": "qemu-utils",
  "qemu-img": "qemu-utils",
  "qemu-nbd": "qemu-utils",
  "nbd-client": "nbd-client",
  fio: "fio",
  rsync: "rsync",
  ssh: "openssh-client",
  "ssh-keygen": "openssh-client",
  sshd: "openssh-server",
  nbdkit: "nbdkit",
  "mkfs.ext4": "e2fsprogs",
  losetup: "util-linux",
};

/** What a test leaves running or lying around until it ends. */
export interface Cleanup {
  /** Called last in, first out, when the test ends, however it ends. */
  defer(call: () => void | Promise<void>): void;
  /** Called only when the test failed: prints what helps to see why. */
  onFailure(call: () => void): void;
  /** A folder of the test's own, short enough for Unix sockets in it. */
  readonly folder: string;
}

/** Whether a program is on the path. */
export function hasProgram(name: string): boolean {
  return PATH.split(":").some((folder) => existsSync(`${folder}/${name}`));
}

/** The first thing that a test needs and this machine lacks; null when all is there. */
export function missing(needs: readonly string[]): string | null {
  for (const need of needs) {
    if (need === "root") {
      if (Deno.uid() !== 0) return "root";
    } else if (need.startsWith("/")) {
      if (!existsSync(need)) return need;
    } else if (!hasProgram(need)) {
      return `${need} (Debian package ${PACKAGES[need] ?? need})`;
    }
  }
  return null;
}

/**
 * Declares an end-to-end test. `needs` are programs, paths, or "root". When one is missing the test
 * is skipped with a line that says so; with CASCADE_CI=1 it fails instead.
 */
export function e2e(
  name: string,
  needs: readonly string[],
  body: (cleanup: Cleanup) => Promise<void>,
): void {
  const lacking = missing(needs);
  const mustRun = Deno.env.get("CASCADE_CI") === "1";
  if (lacking !== null && !mustRun) {
    // deno-lint-ignore no-console -- the line that tells what is skipped and why
    console.log(`skipped: ${name}: ${lacking} is missing`);
  }
  Deno.test({
    name,
    ignore: lacking !== null && !mustRun,
    // Processes and sockets are closed in cleanups that may outlive a failed assertion's await.
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      if (lacking !== null) throw new Error(`${lacking} is missing`);
      await withCleanup(body);
    },
  });
}

/** What runs now has to undo, by run. */
const pending = new Set<() => Promise<void>>();

/** For programs that are no tests: Ctrl-C cleans up, too, before it ends them. */
export function cleanUpOnSignal(): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, async () => {
      for (const undo of [...pending]) await undo();
      Deno.exit(130);
    });
  }
}

/** Runs `body` with a folder and a cleanup of its own; for programs that are no tests, too. */
export async function withCleanup(body: (cleanup: Cleanup) => Promise<void>): Promise<void> {
  const calls: (() => void | Promise<void>)[] = [];
  const failures: (() => void)[] = [];
  const folder = Deno.makeTempDirSync({ prefix: "cascade-e2e-" });
  const cleanup: Cleanup = {
    folder,
    defer: (call) => void calls.push(call),
    onFailure: (call) => void failures.push(call),
  };
  const undo = async () => {
    pending.delete(undo);
    for (const call of calls.splice(0).reverse()) await call();
    await Deno.remove(folder, { recursive: true });
  };
  pending.add(undo);
  try {
    await body(cleanup);
  } catch (error) {
    // Interrupted: it failed for what it ran on is being undone, and the process is about to end.
    if (!pending.has(undo)) return await new Promise<never>(() => {});
    for (const call of failures) call();
    throw error;
  } finally {
    await undo();
  }
}
