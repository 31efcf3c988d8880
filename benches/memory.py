#!/usr/bin/env python3
"""The most memory that a process takes while many long answers arrive at once.

    benches/memory.py [--answers 40] [--mb 31] [--kinds text,control,...] [--memory SIZE] [--cluster] [--binaries target/release]

Each kind of answer is a run of its own: `compile` with one predictor and as many examples as answers, all of which may be in flight, and
an LM server (tests/support/giant_lm.py) that sends no long answer before all requests for one have arrived. With --cluster the workers are
a process of their own; BSFT_AMQP_URL and BSFT_REDIS_URL name the servers.
"""
import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIGNATURES = {"numbers": "list[int]", "floats": "list[float]", "texts": "list[str]", "lists": "list[list[int]]"}
JOB = """name = "memory"
[data]
trainset = "train.jsonl"
inputs = ["text"]
[[program.predictors]]
name = "p"
module = "Predict"
signature = "text -> answer{type}"
[lm.teacher]
model = "openai/teacher"
api_base = "{base}"
timeout_secs = 600
account = "all"
[account.all]
concurrent = {answers}
[lm.student]
model = "openai/student"
[lm.student.finetune]
provider = "export"
[student]
lm = "student"
[[teacher]]
lm = "teacher"
"""


def started(argv, **options):
    """A process, and how much memory it took at most, in MiB, once it has ended."""
    child = subprocess.Popen(argv, **options)

    def ended():
        _, status, usage = os.wait4(child.pid, 0)
        return os.waitstatus_to_exitcode(status), usage.ru_maxrss >> 10

    return child, ended


def measure(arguments, kind):
    server = subprocess.Popen(
        [sys.executable, ROOT / "tests/support/giant_lm.py", "--while-stdin", "--together", str(arguments.answers)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    base = server.stdout.readline().strip()
    flags = ["--concurrency", str(arguments.answers)]
    flags += ["--memory", arguments.memory] if arguments.memory else []
    length = round(arguments.mb * 1e6)
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        annotation = f": {SIGNATURES[kind]}" if kind in SIGNATURES else ""
        (folder / "job.toml").write_text(JOB.format(base=base, type=annotation, answers=arguments.answers))
        # Before the first answer of a server has arrived, it gets no second request.
        rows = [{"text": "a short one"}, *({"text": f"{number} GIANT:{kind}:{length}"} for number in range(arguments.answers))]
        (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        log = open(folder / "log", "w+")
        options = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": log}
        environment = dict(os.environ, BSFT_NAMESPACE=f"memory-{secrets.token_hex(4)}")
        if not arguments.cluster:
            for name in ("BSFT_AMQP_URL", "BSFT_REDIS_URL"):
                environment.pop(name, None)
        binary = arguments.binaries.resolve()
        begin = time.monotonic()
        if arguments.cluster:
            worker, worker_ended = started([binary / "bsft-worker", *flags], env=environment, **options)
            flags = ["--memory", arguments.memory] if arguments.memory else []
        compiling, compile_ended = started([binary / "bsft", "compile", "job.toml", "--out", "run", *flags], env=environment, **options)
        code, peaks["compile"] = compile_ended()
        seconds = time.monotonic() - begin
        if arguments.cluster:
            worker.send_signal(signal.SIGTERM)
            _, peaks["worker"] = worker_ended()
        traces = folder / "run/traces.jsonl"
        with open(traces, "rb") as lines:
            kept = sum(1 for _ in lines) if traces.exists() else 0
        size = traces.stat().st_size / 1e6
        if code or kept != arguments.answers + 1:
            log.seek(0)
            print(log.read()[-3000:], file=sys.stderr)
    server.stdin.close()
    server.wait()
    shown = ", ".join(f"{name} {peak} MiB" for name, peak in peaks.items())
    print(f"{kind}: {shown}; {kept} traces, {size:.0f} MB, exit code {code}, {seconds:.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--answers", type=int, default=40)
    parser.add_argument("--mb", type=float, default=31)
    parser.add_argument("--kinds", default="text,control,quotes,words,numbers,floats,texts")
    parser.add_argument("--memory")
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--binaries", type=Path, default=ROOT / "target/release")
    arguments = parser.parse_args()
    for kind in arguments.kinds.split(","):
        measure(arguments, kind)


main()
