"""A trainer that trains nothing: it shows the folder contract of the provider `command`.

It reads rows of prompt and completion, appends its progress to $FT_PROGRESS_FILE, and writes the result into the
output folder. An exit code of 0 and the result file mean success.
"""

import argparse
import json
import os
import pathlib


def rows(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", required=True)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--epochs", required=True, type=int)
    parser.add_argument("--learning-rate", required=True, type=float)
    parser.add_argument("--validation")
    args = parser.parse_args()

    train = rows(args.rows)
    held_out = rows(args.validation) if args.validation else []
    print(f"{len(train)} rows, {len(held_out)} validation rows, {args.epochs} epochs")
    total = len(train) * args.epochs
    with open(os.environ["FT_PROGRESS_FILE"], "a", encoding="utf-8") as progress:
        for step in range(1, total + 1):
            line = {"step": step, "total_steps": total, "loss": 1 / (1 + args.learning_rate * step)}
            progress.write(json.dumps(line) + "\n")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "model.json").write_text(json.dumps({"rows": len(train), "epochs": args.epochs}))


if __name__ == "__main__":
    main()
