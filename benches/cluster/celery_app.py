"""A Celery app whose tasks are what a bootstrap task is: one call of dspy's Predict, scored; and a task that does nothing.

BENCH_REDIS is the Redis server's URL, BENCH_LM the LM server's.
"""

import os

import dspy
from celery import Celery

from jobs import SIGNATURE

REDIS = os.environ["BENCH_REDIS"]
app = Celery("bench", broker=f"{REDIS}/1", backend=f"{REDIS}/2")
app.conf.update(
    # As bsft has it: a task whose worker dies is delivered again.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=4,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    task_send_sent_event=False,
    result_expires=3600,
)

dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
student = dspy.Predict(SIGNATURE)
student.set_lm(dspy.LM("openai/bench", api_base=os.environ["BENCH_LM"], api_key="none", cache=False))


@app.task
def classify(text, label):
    """Asks the LM and scores the answer, as the metric of the other sides does."""
    prediction = student(text=text)
    example = dspy.Example(answer=label)
    score = dspy.evaluate.answer_exact_match(example, dspy.Prediction(answer=prediction.label))
    return {"prediction": dict(prediction), "score": score}


@app.task
def nothing(text, label):
    """What Celery itself costs."""
