"""Runs the cases, each contender against a server of its own, and writes one JSON object a line.

    measure.py --bin FOLDER --work FOLDER [--quick] [--only TEXT] [--who NAMES]

Lost examples are those that a contender does not return. Requests, refusals and the use of the limit are the server's counts.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from cases import CASES

HERE = Path(__file__).parent
# What the others have in flight where a case leaves it to bsft's default.
IN_FLIGHT = 64
# Examples that a contender in Python starts with before the clock runs: none. Its imports count, as a user waits for them, too.
GOLD = ["paris", "seven", "blue", "river"]

JOB = """name = "limits"
[data]
trainset = "train.jsonl"
inputs = ["question"]
{predictors}
[lm.teacher]
model = "openai/teacher"
api_base = "{api_base}"
api_key_env = "BENCH_KEY"
{lm}
[lm.student]
model = "openai/small"
[lm.student.finetune]
provider = "export"
[student]
lm = "student"
[[teacher]]
lm = "teacher"
"""
ONE = '[[program.predictors]]\nname = "answer"\nmodule = "Predict"\nsignature = "question -> answer"'
TWO = (
    '[[program.predictors]]\nname = "plan"\nmodule = "Predict"\nsignature = "question -> plan"\n'
    '[[program.predictors]]\nname = "answer"\nmodule = "Predict"\nsignature = "question, plan -> answer"'
)


class Server:
    """`limited-lm` with one behaviour; its counters are read when it is stopped."""

    def __init__(self, binary, behaviour):
        command = [binary, json.dumps({"latency_ms": 200} | behaviour)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.base = self.process.stdout.readline().strip()

    def stop(self):
        self.process.stdin.close()
        counts = json.loads(self.process.stdout.read())
        self.process.wait()
        return counts


def write_trainset(folder, examples):
    lines = (json.dumps({"question": f"Question {i}, gold={GOLD[i % 4]}?", "answer": GOLD[i % 4]}) for i in range(examples))
    (folder / "train.jsonl").write_text("".join(line + "\n" for line in lines))


def bsft(options, case, folder, base):
    job = JOB.format(predictors=TWO if case["calls"] == 2 else ONE, api_base=base, lm=case["lm"])
    (folder / "job.toml").write_text(job)
    command = [options.bin / "bsft", "compile", folder / "job.toml", "--out", folder / "run"]
    if case["in_flight"]:
        command += ["--concurrency", str(case["in_flight"])]
    return command


def script(python, name):
    def command(_options, case, folder, base):
        in_flight = str(case["in_flight"] or IN_FLIGHT)
        return [python, HERE / name, folder / "train.jsonl", base, in_flight, str(case["calls"])]

    return command


CONTENDERS = {
    "bsft": bsft,
    "openai": script(os.environ.get("BENCH_DSPY_PYTHON"), "openai_calls.py"),
    "dspy": script(os.environ.get("BENCH_DSPY_PYTHON"), "dspy_calls.py"),
    "designer": script(os.environ.get("BENCH_DESIGNER_PYTHON"), "designer_calls.py"),
}


def kept(who, folder, stdout):
    """Examples that the contender returned."""
    if who == "bsft":
        traces = folder / "run" / "traces.jsonl"
        return sum(1 for _ in traces.open()) if traces.exists() else 0
    last = stdout.strip().rpartition("\n")[2]
    return json.loads(last)["kept"] if last.startswith("{") else 0


def failed(folder):
    """Examples that bsft gave up: those that it left for the next start are not among them."""
    failures = folder / "run" / "failures.jsonl"
    return sum(1 for _ in failures.open()) if failures.exists() else 0


def run(options, case, who):
    folder = options.work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_trainset(folder, case["examples"])
    server = Server(options.bin / "limited-lm", case["server"])
    environment = os.environ | {
        "BENCH_KEY": "first",
        "BSFT_LOG_FORMAT": "human",
        "LITELLM_LOCAL_MODEL_COST_MAP": "true",
        "NEMO_TELEMETRY_ENABLED": "false",
        "HOME": str(folder),
    }
    command = CONTENDERS[who](options, case, folder, server.base)
    start = time.monotonic()
    with (options.work / "log").open("a") as log:
        log.write(f"\n== {case['name']}: {who}\n")
        log.flush()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=folder, start_new_session=True
        )
        try:
            stdout, _ = process.communicate(timeout=case["patience"])
            exit_code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, _ = process.communicate()
            exit_code = None
    wall = time.monotonic() - start
    row = {key: case[key] for key in ("name", "examples", "calls", "in_flight", "server")}
    row |= {"who": who, "wall": wall, "exit": exit_code, "kept": kept(who, folder, stdout), "counts": server.stop()}
    if who == "bsft":
        row["failed"] = failed(folder)
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="a few cases only")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--who", default=",".join(CONTENDERS))
    options = parser.parse_args()
    options.bin, options.work = options.bin.resolve(), options.work.resolve()
    (options.work / "log").write_text("")
    with (options.work / "results.jsonl").open("w", buffering=1) as results:
        for case in CASES:
            if options.only not in case["name"] or (options.quick and not case["quick"]):
                continue
            for who in case["who"]:
                if who in options.who.split(","):
                    row = run(options, case, who)
                    results.write(json.dumps(row) + "\n")
                    shown = {key: row[key] for key in ("name", "who", "kept", "wall", "exit")}
                    print(json.dumps(shown | {"arrivals": row["counts"]["arrivals"]}), file=sys.stderr)


main()
