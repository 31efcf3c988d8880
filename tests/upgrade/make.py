#!/usr/bin/env python3
"""Makes the fixtures of the upgrade tests: what an earlier version leaves when it is killed in the middle of a run.

    tests/upgrade/make.py --coordinator OLD/bsft-coordinator --worker OLD/bsft-worker --out tests/upgrade/VERSION

OLD holds the binaries of the earlier commit, and VERSION names it. Needs redis-server, rabbitmq-server (see
tests/support/rabbitmq.sh) and, from PyPI, `pika` and `redis`. Writes two archives:

- `dir.tar.gz`: a job and a run directory whose process was killed with SIGKILL;
- `cluster.tar.gz`: the same for a run on RabbitMQ and Redis, with the messages that were left in the queues
  (`messages.json`: queue, body in hexadecimal) and the keys of Redis (`keys.json`: key, time to live in
  milliseconds with 0 for none, DUMP in hexadecimal).

The LMs are simulated, so that any later version can finish the runs offline and compare the bytes with a run of its own.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

EXAMPLES = 300
KILL_AT = 80
NAMESPACE = "upgrade"
HERE = Path(__file__).resolve().parent

JOB = """name = "upgrade"
[data]
trainset = "train.jsonl"
inputs = ["question"]
[[program.predictors]]
name = "plan"
module = "Predict"
signature = "question -> plan"
[[program.predictors]]
name = "answer.predict"
module = "ChainOfThought"
signature = "question, plan -> answer"
[lm.teacher]
model = "simulated/teacher"
simulate = { accuracy = 0.7, malformed_rate = 0.05, error_rate = 0.02, latency_ms = 20, seed = 7 }
[lm.student]
model = "openai/small"
[lm.student.finetune]
provider = "simulated"
validation_fraction = 0.1
[student]
lm = "student"
[[teacher]]
lm = "teacher"
[metric]
exact_match = "answer"
"""


def wait_for(what, check):
    deadline = time.monotonic() + 120
    while not (value := check()):
        if time.monotonic() > deadline:
            raise SystemExit(f"timed out waiting for {what}")
        time.sleep(0.005)
    return value


def write_job(folder):
    (folder / "job.toml").write_text(JOB)
    with open(folder / "train.jsonl", "w") as trainset:
        for n in range(EXAMPLES):
            trainset.write(json.dumps({"question": f"Question {n}?", "answer": ["paris", "seven", "blue"][n % 3]}) + "\n")


def traces(folder):
    path = folder / "run/traces.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def pack(folder, archive):
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.name != "lock":
                tar.add(path, path.relative_to(folder), filter=anonymous)


def anonymous(entry):
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def make_dir(given):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_job(folder)
        command = [given.coordinator, "compile", "job.toml", "--out", "run", "--concurrency", "8"]
        running = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
        wait_for("traces", lambda: traces(folder) >= KILL_AT)
        kill(running)
        assert traces(folder) < EXAMPLES * 9 // 10
        pack(folder, given.out / "dir.tar.gz")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def make_cluster(given):
    import pika
    import redis

    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as servers:
        folder = Path(name)
        write_job(folder)
        port = free_port()
        store = subprocess.Popen(
            ["redis-server", "--port", str(port), "--dir", servers, "--maxmemory-policy", "noeviction", "--appendonly", "yes"],
            stdout=subprocess.DEVNULL,
        )
        broker = subprocess.Popen(
            ["bash", HERE.parent / "support/rabbitmq.sh", f"{servers}/rabbitmq"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        try:
            amqp = broker.stdout.readline().strip()
            environment = os.environ | {
                "BSFT_AMQP_URL": amqp,
                "BSFT_REDIS_URL": f"redis://127.0.0.1:{port}",
                "BSFT_NAMESPACE": NAMESPACE,
            }
            quiet = {"cwd": folder, "env": environment, "stderr": subprocess.DEVNULL}
            worker = subprocess.Popen([given.worker, "--concurrency", "8"], **quiet)
            coordinator = subprocess.Popen([given.coordinator, "compile", "job.toml", "--out", "run"], **quiet)
            wait_for("traces", lambda: traces(folder) >= KILL_AT)
            # The worker goes on for a while, so that outcomes wait in Redis for a coordinator.
            kill(coordinator)
            database = redis.Redis(port=port)
            left = wait_for("outcomes", lambda: sum(database.memory_usage(key) or 0 for key in database.keys()) > 40_000)
            assert left
            kill(worker)
            # Leases have run out when a later version comes.
            kept = [key for key in sorted(database.keys()) if not 0 <= database.ttl(key) <= 60]
            keys = [
                {"key": key.decode(), "ttl_ms": max(database.pttl(key), 0), "dump": database.dump(key).hex()} for key in kept
            ]
            (folder / "keys.json").write_text(json.dumps(keys))
            messages = []
            with pika.BlockingConnection(pika.URLParameters(amqp)) as connection:
                channel = connection.channel()
                for queue in ("bootstrap", "finetune"):
                    name = f"bsft.{NAMESPACE}.v1.{queue}"
                    # Deliveries of the killed worker come back when the broker has seen its connection end.
                    time.sleep(2)
                    while True:
                        frame, _, body = channel.basic_get(name)
                        if frame is None:
                            break
                        messages.append({"queue": queue, "body": body.hex()})
            (folder / "messages.json").write_text(json.dumps(messages))
            print(f"{traces(folder)} traces, {len(messages)} messages, {len(keys)} keys")
            pack(folder, given.out / "cluster.tar.gz")
        finally:
            store.kill()
            broker.stdin.close()
            broker.wait()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--coordinator", type=Path, required=True)
    arguments.add_argument("--worker", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    given = arguments.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    make_dir(given)
    make_cluster(given)


main()
