#!/usr/bin/env python3
"""Two builds of bsft-coordinator side by side: CPU and time of one compile, in alternating pairs.

    benches/pairs.py BEFORE AFTER [--pairs 5] [--examples 100000] [--lm-server target/release/bench-lm-server]

Without --lm-server the LM is simulated in the process; with it both builds ask that server over HTTP, whose own CPU time
does not count. Prints the medians and their ratio, and the ratio of each pair: what lies within their spread is noise.
"""

import argparse
import json
import resource
import statistics
import subprocess
import tempfile
from pathlib import Path
from time import monotonic

JOB = """name = "pairs"
[data]
trainset = "train.jsonl"
inputs = ["question"]
[[program.predictors]]
name = "answer"
module = "ChainOfThought"
signature = "question -> answer"
[lm.teacher]
{teacher}
[lm.student]
model = "openai/small"
[lm.student.finetune]
provider = "simulated"
[student]
lm = "student"
[[teacher]]
lm = "teacher"
[metric]
exact_match = "answer"
"""


def start_server(program):
    """A bench-lm-server on a free port, and its address as a job file writes it."""
    server = subprocess.Popen([program, "--field", "answer"], stdout=subprocess.PIPE, text=True)
    return server, server.stdout.readline().strip()


def measured(program, folder):
    """User and all CPU seconds, and seconds, of one compile."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), monotonic()
        command = [program, "compile", folder / "job.toml", "--out", Path(out) / "run", "--concurrency", "256"]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), monotonic() - start
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return user, user + system, wall


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("before", type=Path)
    arguments.add_argument("after", type=Path)
    arguments.add_argument("--pairs", type=int, default=5)
    arguments.add_argument("--examples", type=int, default=100_000)
    arguments.add_argument("--lm-server", type=Path)
    given = arguments.parse_args()
    programs = [given.before.resolve(), given.after.resolve()]
    server, teacher = None, 'model = "simulated/teacher"'
    if given.lm_server:
        server, address = start_server(given.lm_server.resolve())
        teacher = f'model = "openai/teacher"\napi_base = "{address}"'
    runs = ([], [])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The server gives one answer to all, so that no metric could distinguish the traces.
        job = JOB.replace("{teacher}", teacher) if not server else JOB.replace("{teacher}", teacher).partition("[metric]")[0]
        (folder / "job.toml").write_text(job)
        with open(folder / "train.jsonl", "w") as trainset:
            for n in range(given.examples):
                trainset.write(json.dumps({"question": f"Question {n}?", "answer": str(n % 7)}) + "\n")
        for pair in range(given.pairs):
            # Each is the first as often as the other.
            for which in (0, 1) if pair % 2 == 0 else (1, 0):
                runs[which].append(measured(programs[which], folder))
    if server:
        server.kill()
        server.wait()
    for place, what in enumerate(("user s", "CPU s", "seconds")):
        before, after = ([run[place] for run in of] for of in runs)
        ratio = statistics.median(after) / statistics.median(before)
        pairs = " ".join(f"{b / a:.2f}" for a, b in zip(before, after))
        print(f"{what:8} {statistics.median(before):8.3f} {statistics.median(after):8.3f}  ratio {ratio:.3f}  pairs {pairs}")


main()
