"""Counts the tokens of training rows as the model that will be trained counts them.

    measure.py BASE_MODEL ROWS.jsonl

BASE_MODEL is a folder or a name on the Hugging Face hub; rows are {"messages": [...]} or {"prompt": [...], "completion": [...]}.
Prints one JSON object on one line:

    {"rows": 2, "longest": 231, "lengths": [230, 231], "limit": 1024}

A length is what the trainer sees, chat template included, so a trainer that cuts rows at `longest` cuts none. `limit` is how
many tokens the model has positions for, or null where its configuration does not say. Needs transformers, and no model weights.
"""

import json
import os
import sys

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
# On hundreds of thousands of rows the tokenizer's threads pay; the warning that they fork does not.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

# Rows that are tokenized together. More costs memory and saves nothing.
BATCH = 256

# Where configurations say how many positions there are. The first are the usual ones, the last two of GPT-2 and of MPT.
POSITIONS = ("max_position_embeddings", "max_sequence_length", "n_positions", "max_seq_len")


def limit(config):
    """The model's positions. Models that also see have their language part's configuration inside their own."""
    for part in (config, config.get_text_config()):
        for name in POSITIONS:
            positions = getattr(part, name, None)
            if isinstance(positions, int) and positions > 0:
                return positions
    return None


def lengths(tokenizer, path):
    """Tokens of each row."""
    counted = []
    batch = []

    def count():
        if batch:
            counted.extend(len(ids) for ids in tokenizer(batch, add_special_tokens=False)["input_ids"])
            batch.clear()

    with open(path, encoding="utf-8") as rows:
        for number, line in enumerate(rows, start=1):
            row = json.loads(line)
            messages = row["messages"] if "messages" in row else row["prompt"] + row["completion"]
            try:
                batch.append(tokenizer.apply_chat_template(messages, tools=row.get("tools"), tokenize=False))
            except Exception as error:  # Templates are programs of strangers: they raise what they like.
                sys.exit(f"row {number} does not fit the chat template of {tokenizer.name_or_path}: {error}")
            if len(batch) == BATCH:
                count()
    count()
    return counted


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: measure.py BASE_MODEL ROWS.jsonl")
    model, path = sys.argv[1:]
    try:
        from transformers import AutoConfig, AutoTokenizer
    except ImportError as error:
        sys.exit(f"transformers is not installed in {sys.executable}: {error}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        positions = limit(AutoConfig.from_pretrained(model))
    except (OSError, ValueError) as error:
        sys.exit(f"no tokenizer of {model}: {error}")
    if not tokenizer.chat_template:
        sys.exit(f"the tokenizer of {model} has no chat template: name a model that was trained to chat")
    counted = lengths(tokenizer, path)
    print(json.dumps({"rows": len(counted), "longest": max(counted, default=0), "lengths": counted, "limit": positions}))


if __name__ == "__main__":
    main()
