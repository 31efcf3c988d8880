"""DSPy's own preparation of training data: its `_prepare_finetune_data` and `save_data` on traces that are in memory already.

    dspy_prepare.py EXAMPLES FOLDER
"""

import json
import os
import resource
import sys
import time

os.environ["DSPY_FINETUNEDIR"] = sys.argv[2]

import dspy
from dspy.clients.utils_finetune import save_data
from dspy.teleprompt.bootstrap_finetune import BootstrapFinetune

from jobs import LABEL, SIGNATURE, text


def usage():
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime + now.ru_stime, now.ru_maxrss / 1024


def main():
    student = dspy.Predict(SIGNATURE)
    lm = dspy.LM("openai/bench", api_key="none", cache=False)
    traces = []
    for i in range(int(sys.argv[1])):
        inputs = {"text": text(i)}
        prediction = dspy.Prediction(label=LABEL)
        trace = [(student, inputs, prediction)]
        example = dspy.Example(text=inputs["text"], label=LABEL).with_inputs("text")
        traces.append(
            {"example": example, "prediction": prediction, "trace": trace, "example_ind": i, "score": True}
        )
    compiler = BootstrapFinetune(metric=lambda *_: True)
    (before, rss_before), start = usage(), time.monotonic()
    data, _ = compiler._prepare_finetune_data(trace_data=traces, lm=lm)
    path = save_data(data)
    wall, (after, rss) = time.monotonic() - start, usage()
    assert len(data) == len(traces)
    facts = {"wall": wall, "cpu": after - before, "rss_mb": rss, "grew_mb": rss - rss_before, "file": path}
    print(json.dumps(facts))


main()
