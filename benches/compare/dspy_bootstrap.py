"""DSPy's own bootstrap, as BootstrapFinetune.compile starts it: traces of a trainset, with its cache off.

    dspy_bootstrap.py TRAINSET API_BASE THREADS
"""

import json
import resource
import sys
import time

import dspy
from dspy.teleprompt.bootstrap_finetune import bootstrap_trace_data

from jobs import SIGNATURE


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    trainset, api_base, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    lm = dspy.LM("openai/bench", api_base=api_base, api_key="none", cache=False)
    with open(trainset) as file:
        examples = [dspy.Example(**json.loads(line)).with_inputs("text") for line in file]
    student = dspy.Predict(SIGNATURE)
    student.set_lm(lm)

    def metric(example, prediction, trace=None):
        return dspy.evaluate.answer_exact_match(
            dspy.Example(answer=example.label), dspy.Prediction(answer=prediction.label)
        )

    start, before = time.monotonic(), cpu()
    traces = bootstrap_trace_data(program=student, dataset=examples, metric=metric, num_threads=threads)
    wall, used = time.monotonic() - start, cpu() - before
    kept = sum(bool(trace["score"]) for trace in traces)
    assert kept == len(examples), f"{kept} of {len(examples)} traces kept"
    print(json.dumps({"wall": wall, "cpu": used}))


main()
