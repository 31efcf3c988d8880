"""DSPy's own bootstrap, with its cache off and failed examples left out rather than raised.

    dspy_calls.py TRAINSET API_BASE IN_FLIGHT CALLS
"""

import json
import sys

import dspy
from dspy.teleprompt.bootstrap_finetune import bootstrap_trace_data


class Steps(dspy.Module):
    """As many calls as asked for."""

    def __init__(self, calls):
        super().__init__()
        self.plan = dspy.Predict("question -> plan") if calls > 1 else None
        self.answer = dspy.Predict("question, plan -> answer" if calls > 1 else "question -> answer")

    def forward(self, question):
        if self.plan is None:
            return self.answer(question=question)
        return self.answer(question=question, plan=self.plan(question=question).plan)


def main():
    trainset, api_base, threads, calls = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    lm = dspy.LM("openai/teacher", api_base=api_base, api_key="first", cache=False)
    dspy.configure(lm=lm)
    with open(trainset) as file:
        examples = [dspy.Example(**json.loads(line)).with_inputs("question") for line in file]
    student = Steps(calls)
    student.set_lm(lm)
    traces = bootstrap_trace_data(
        program=student, dataset=examples, metric=lambda *_: True, num_threads=threads, raise_on_error=False, capture_failed_parses=False
    )
    print(json.dumps({"kept": len(traces)}))


main()
