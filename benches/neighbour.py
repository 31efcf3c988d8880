#!/usr/bin/env python3
"""How fast a run on a cluster is beside a run that no worker can use: alone, beside messages of an unknown run, and beside a run with
damaged keys.

    benches/neighbour.py [--bin target/release] [--examples 20000] [--strays 20000] [--rounds 3]

Starts a RabbitMQ, a Redis, a worker and bench-lm-server of its own. The three cases alternate within each round. Prints the examples per
second of each case, and the ratio of its median to that of the run alone.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
from pathlib import Path
from time import monotonic, sleep

ROOT = Path(__file__).resolve().parent.parent

JOB = """name = "{name}"
[data]
trainset = "{trainset}"
inputs = ["question"]
[[program.predictors]]
name = "answer"
module = "ChainOfThought"
signature = "question -> answer"
[lm.teacher]
model = "openai/bench"
api_base = "{base}"
[lm.student]
model = "openai/small"
[lm.student.finetune]
provider = "simulated"
[student]
lm = "student"
[[teacher]]
lm = "teacher"
"""


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


class Services:
    """RabbitMQ, Redis and the LM server; all end with this process."""

    def __init__(self, binaries, folder):
        self.binaries, self.folder = binaries, folder
        script = ROOT / "tests/support/rabbitmq.sh"
        self.log = open(folder / "log", "w")
        self.broker = subprocess.Popen(
            [script, folder / "rabbitmq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.amqp = self.broker.stdout.readline().strip()
        self.redis_port = free_port()
        self.redis = subprocess.Popen(
            ["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
            + ["--appendonly", "yes", "--maxmemory-policy", "noeviction"],
            stdout=self.log,
        )
        while self.ask("PING") != "PONG":
            sleep(0.1)
        self.lm = subprocess.Popen(
            [binaries / "bench-lm-server", "--field", "answer"], stdout=subprocess.PIPE, text=True
        )
        self.base = self.lm.stdout.readline().strip()
        self.environment = os.environ | {
            "BSFT_AMQP_URL": self.amqp,
            "BSFT_REDIS_URL": f"redis://127.0.0.1:{self.redis_port}",
            "BSFT_NAMESPACE": "neighbour",
        }

    def ask(self, *command):
        asked = subprocess.run(
            ["redis-cli", "-p", str(self.redis_port), *command], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip()

    def ctl(self, *arguments):
        """The output of the broker's rabbitmqctl."""
        script = ROOT / "tests/support/rabbitmq.sh"
        asked = subprocess.run(
            [script, self.folder / "rabbitmq", "ctl", *arguments], capture_output=True, text=True, check=True
        )
        return asked.stdout

    def queued(self):
        """Messages in all queues, delivered ones included."""
        counts = (line.split()[-1] for line in self.ctl("list_queues", "name", "messages").splitlines() if line.split())
        return sum(int(count) for count in counts if count.isdigit())

    def purge(self):
        for line in self.ctl("list_queues", "name").splitlines():
            if "bsft" in line:
                self.ctl("purge_queue", line.split()[0])

    def start(self, program, *arguments):
        return subprocess.Popen(
            [self.binaries / program, *arguments], env=self.environment, stderr=self.log, stdout=self.log
        )

    def stop(self):
        for process in (self.lm, self.redis):
            process.kill()
            process.wait()
        self.broker.stdin.close()
        self.broker.wait()


def write_job(services, name, examples):
    trainset = services.folder / f"{name}.jsonl"
    with open(trainset, "w") as file:
        for number in range(examples):
            file.write(json.dumps({"question": f"{name} {number}?", "answer": "yes"}) + "\n")
    path = services.folder / f"{name}.toml"
    path.write_text(JOB.format(name=name, trainset=trainset.name, base=services.base))
    return path


def honest(services, number, examples):
    """Examples per second of a run on the worker that is there."""
    job = write_job(services, f"honest{number}", examples)
    began = monotonic()
    coordinator = services.start("bsft-coordinator", "compile", job, "--out", services.folder / f"honest{number}")
    if coordinator.wait() != 0:
        raise SystemExit(f"the honest run failed; see {services.folder}/log")
    return examples / (monotonic() - began)


def leave_tasks(services, name, tasks):
    """A run whose processes were killed with so many tasks published. Returns its id."""
    job = write_job(services, name, 2 * tasks)
    # Answers the first example, and then nothing, so that tasks pile up.
    lm = subprocess.Popen(
        [services.binaries / "bench-lm-server", "--field", "answer"], stdout=subprocess.PIPE, text=True
    )
    job.write_text(job.read_text().replace(services.base, lm.stdout.readline().strip()))
    worker = services.start("bsft-worker", "--concurrency", str(tasks // 2), "--lanes", "bootstrap")
    coordinator = services.start("bsft-coordinator", "compile", job, "--out", services.folder / name)
    traces = services.folder / name / "traces.jsonl"
    while not (traces.exists() and traces.stat().st_size):
        sleep(0.01)
    lm.send_signal(signal.SIGSTOP)
    while services.queued() < tasks // 2:
        sleep(0.5)
    for process in (coordinator, worker, lm):
        process.kill()
        process.wait()
    return json.loads((services.folder / name / "run.json").read_text())["run"]


def keys_of(services, run):
    return services.ask("EVAL", "return redis.call('KEYS', ARGV[1])", "0", f"*{{{run}}}*").split()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bin", type=Path, default=ROOT / "target/release")
    arguments.add_argument("--examples", type=int, default=20000)
    arguments.add_argument("--strays", type=int, default=20000)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    rates = {"alone": [], "beside messages of an unknown run": [], "beside a run with damaged keys": []}
    with tempfile.TemporaryDirectory() as folder:
        services = Services(options.bin.resolve(), Path(folder))
        try:
            for number in range(options.rounds):
                for case, measured in rates.items():
                    name = f"r{number}-{len(measured)}-{list(rates).index(case)}"
                    services.ask("FLUSHALL")
                    services.purge()
                    if case != "alone":
                        run = leave_tasks(services, f"left-{name}", options.strays)
                        keys = keys_of(services, run)
                        for key in keys:
                            services.ask("DEL", key)
                            if "damaged" in case and (":task:" in key or key.endswith((":position", ":outcomes", ":job"))):
                                services.ask("SET", key, "garbage")
                    worker = services.start("bsft-worker", "--concurrency", "256")
                    measured.append(honest(services, name, options.examples))
                    print(f"{measured[-1]:8.0f} examples/s {case}, {services.queued()} messages left", flush=True)
                    worker.kill()
                    worker.wait()
        finally:
            services.stop()
    alone = statistics.median(rates["alone"])
    for case, measured in rates.items():
        median = statistics.median(measured)
        print(f"{case}: {median:.0f} examples/s, {median / alone:.3f} of the run alone")


if __name__ == "__main__":
    main()
