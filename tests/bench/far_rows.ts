/**
 * The row about a first copy to another host, encrypted: a blank node that its upstream fills over TLS, and `cascade
 * seed` of an export over TLS, beside `rsync` over `ssh`. All on loopback, data random, page cache warm, times of whole
 * processes. What Cascade writes is flushed at the end; with `--fsync` so is what rsync writes.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Cluster } from "../e2e/support/cluster.ts";
import { freePorts } from "../e2e/support/ports.ts";
import { type Cleanup, missing } from "../e2e/support/e2e.ts";
import { Background, run } from "../e2e/support/programs.ts";
import { until } from "../e2e/support/wait.ts";
import { median, type OwnRow } from "./report.ts";
import { fillRandom, seedLine } from "./seed_rows.ts";

const MIB = 1024 * 1024;
const ROUNDS = 3;

/** See the module's text. Nothing, and a word why, where there is no sshd. */
export async function measureFar(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const lacking = missing(["rsync", "ssh", "ssh-keygen", "sshd"]);
  if (lacking !== null) {
    Deno.stderr.writeSync(new TextEncoder().encode(`skipped: ${lacking} is missing\n`));
    return [];
  }
  const cluster = await stage(cleanup, bytes);
  const source = cluster.image("hq");
  const target = join(cleanup.folder, "rsync.img");
  const ssh = await startSshd(cleanup);
  const rsync = (...more: string[]) => {
    const args = ["--inplace", "--whole-file", ...more, "-e", ssh.command, source];
    return () => run("rsync", [...args, `${ssh.host}:${target}`]);
  };
  const copy = join(cleanup.folder, "seed.img");
  const contenders: Record<string, () => Promise<unknown>> = {
    cascade: () => firstCopy(cluster),
    "cascade seed nbds://": () => {
      const [program, ...args] = seedLine(exportUri(cluster), copy);
      return run(program!, args);
    },
    "rsync over ssh": rsync(),
    "rsync --fsync over ssh": rsync("--fsync"),
  };
  const times = new Map(Object.keys(contenders).map((name) => [name, [] as number[]]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, contender] of Object.entries(contenders)) {
      await forget(cluster, [target, copy]);
      const begun = performance.now();
      await contender();
      times.get(name)!.push((performance.now() - begun) / 1000);
      const made = { cascade: cluster.image("dr"), "cascade seed nbds://": copy }[name] ?? target;
      await run("cmp", [source, made]);
    }
  }
  const seconds = (name: string) => median(times.get(name)!);
  const [own, best] = [seconds("cascade"), seconds("rsync over ssh")];
  const others = [...times.keys()].filter((name) => name !== "cascade");
  return [{
    id: "seed-tls",
    title: "first copy over TLS",
    unit: "s",
    value: own,
    details: {
      ...Object.fromEntries(others.map((name) => [name, seconds(name)])),
      "factor (required 2)": best / own,
      "factor of seed nbds://": best / seconds("cascade seed nbds://"),
    },
    peaks: {},
  }];
}

/** A primary with a full volume, which serves it over TLS, and a node below that is not there yet. */
async function stage(cleanup: Cleanup, bytes: number): Promise<Cluster> {
  const [port = 0] = freePorts(1);
  const cluster = Cluster.create(cleanup, {
    volumes: { data: `${bytes / MIB}MiB` },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async", transport: "tls" }],
    settings: { hq: { nbd: [`tcp://127.0.0.1:${port}`], nbdTls: "required" } },
  });
  const caKey = join(cluster.folder, "certs", "ca.key");
  await cluster.cli(["certs", "renew", "hq", "--ca-key", caKey]);
  await cluster.cli(["certs", "issue", "--client", "bench", "--ca-key", caKey]);
  fillRandom(cluster.image("hq"), bytes);
  await cluster.start("hq");
  return cluster;
}

function exportUri(cluster: Cluster): string {
  const { nodes } = JSON.parse(Deno.readTextFileSync(cluster.topologyPath)) as {
    nodes: Record<string, { nbd: string[] }>;
  };
  const host = nodes["hq"]!.nbd[0]!.replace("tcp://", "");
  return `nbds://${host}/data?tls-certificates=${join(cluster.folder, "certs/clients/bench")}`;
}

/** Starts the blank node, and waits until it is whole, and flushed. */
async function firstCopy(cluster: Cluster): Promise<void> {
  const { lsn: { appended } } = await cluster.status("hq");
  cluster.spawn("dr");
  await until("the copy is whole", async () => {
    const { lsn, consistent, inconsistentUntil } = await cluster.status("dr");
    return lsn.durable === appended && consistent && inconsistentUntil === null;
  }, { pollMs: 10, deadlineMs: 300_000 });
}

/** All is as it was before, and what was written is on the disk. */
async function forget(cluster: Cluster, paths: readonly string[]): Promise<void> {
  try {
    await cluster.stop("dr");
  } catch {
    // It was not started yet.
  }
  const image = cluster.image("dr");
  for (const path of [...paths, image, `${image}.cascade`, cluster.dir("dr")]) {
    await Deno.remove(path, { recursive: true }).catch(() => {/* not there yet */});
  }
  await run("sync", []);
}

/** An ssh server for this user alone, with keys of its own; and the command that reaches it. */
async function startSshd(cleanup: Cleanup): Promise<{ command: string; host: string }> {
  const at = (name: string) => join(cleanup.folder, name);
  const [port = 0] = freePorts(1);
  for (const name of ["host_key", "user_key"]) {
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", at(name)]);
  }
  Deno.copyFileSync(at("user_key.pub"), at("authorized_keys"));
  const settings = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${at("host_key")}`,
    `AuthorizedKeysFile ${at("authorized_keys")}`,
    `PidFile ${at("sshd.pid")}`,
    "PasswordAuthentication no",
    "PermitRootLogin prohibit-password",
    // The folder of a test is in /tmp, which others may write to.
    "StrictModes no",
    "UsePAM no",
  ];
  Deno.writeTextFileSync(at("sshd_config"), settings.join("\n") + "\n");
  // Of root's it wants to find this folder, which a service would have made.
  if (Deno.uid() === 0 && !existsSync("/run/sshd")) {
    Deno.mkdirSync("/run/sshd", { mode: 0o755 });
    cleanup.defer(() => Deno.removeSync("/run/sshd"));
  }
  const program = (await run("which", ["sshd"])).stdout.trim();
  const server = new Background(
    "sshd",
    program,
    ["-D", "-e", "-f", at("sshd_config")],
    at("sshd.out"),
  );
  cleanup.defer(() => server.kill());
  const options = [
    ...["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes"],
    ...["IdentitiesOnly=yes", "LogLevel=ERROR"],
  ].map((option) => `-o ${option}`);
  const command = `ssh -F none -p ${port} -i ${at("user_key")} ${options.join(" ")}`;
  const user = (await run("id", ["-un"])).stdout.trim();
  const [ssh, ...args] = command.split(" ");
  await until("sshd answers", async () => {
    await run(ssh!, [...args, `${user}@127.0.0.1`, "true"]);
    return true;
  });
  return { command, host: `${user}@127.0.0.1` };
}
