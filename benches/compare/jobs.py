"""What is measured: a trainset of any length and a job with one call per example, the same for everyone."""

import json
import sys
from pathlib import Path

LABELS = [
    "card_arrival",
    "lost_card",
    "cash_withdrawal",
    "exchange_rate",
    "pin_blocked",
    "refund_status",
    "top_up_failed",
    "transfer_fee",
]
SIGNATURE = f"text -> label: Literal{LABELS!r}"
# The bench server answers with a literal's first member, so every trace is kept: the most that there can be to prepare.
LABEL = LABELS[0]


def text(i):
    """The text of example `i`."""
    return f"Message {i}: I ordered my new card two weeks ago and it has still not come. What should I do now?"


def job(directory, examples, model, port):
    """Writes a trainset (kept from run to run) and a job file into `directory`; returns the job file's path."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    trainset = directory / f"train-{examples}.jsonl"
    if not trainset.exists():
        unfinished = trainset.with_suffix(".tmp")
        with open(unfinished, "w") as file:
            file.writelines(json.dumps({"text": text(i), "label": LABEL}) + "\n" for i in range(examples))
        unfinished.rename(trainset)
    server = f'api_base = "http://127.0.0.1:{port}/v1"\n' if model.startswith("openai/") else ""
    path = directory / f"job-{examples}-{model.replace('/', '-')}-{port}.toml"
    path.write_text(
        f"""name = "bench"

[data]
trainset = "{trainset.name}"
inputs = ["text"]

[[program.predictors]]
name = "classify"
module = "Predict"
signature = "{SIGNATURE}"

[lm.teacher]
model = "{model}"
{server}
[lm.teacher.finetune]
provider = "export"

[student]
lm = "teacher"

[metric]
exact_match = "label"
"""
    )
    return path


if __name__ == "__main__":
    # directory, examples, model, the server's port
    print(job(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]))
