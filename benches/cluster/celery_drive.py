"""Sends a trainset's examples to the app's workers as tasks and waits for every result.

    celery_drive.py TASK TRAINSET
"""

import json
import resource
import sys
import time

import celery
from celery.result import ResultSet

import celery_app


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    task = celery_app.app.tasks[f"celery_app.{sys.argv[1]}"]
    with open(sys.argv[2]) as file:
        examples = [json.loads(line) for line in file]
    start, before = time.monotonic(), cpu()
    with celery_app.app.producer_pool.acquire(block=True) as producer:
        sent = [task.apply_async((example["text"], example["label"]), producer=producer) for example in examples]
    results = ResultSet(sent).join_native(timeout=3600)
    wall, used = time.monotonic() - start, cpu() - before
    if sys.argv[1] == "classify":
        kept = sum(result["score"] for result in results)
        assert kept == len(examples), f"{kept} of {len(examples)} predictions are right"
    print(json.dumps({"wall": wall, "cpu": used, "version": celery.__version__}))


main()
