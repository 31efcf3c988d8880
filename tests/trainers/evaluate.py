"""Asks a model what the rows of a training file ask, and counts what it answers in DSPy's format.

    evaluate.py MODEL ROWS.jsonl [--limit 25]

MODEL is a folder with a whole model or with a LoRA adapter. Prints one JSON object: how many rows were asked, how many answers are
well-formed (every field of the row's own answer, in its order, each not empty, then the mark of the end, and nothing else), how
many are the row's own answer to the byte, and the first answer.
"""

import argparse
import json
import os
import re
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

# More than the longest right answer needs.
MOST_TOKENS = 100
FIELD = re.compile(r"\[\[ ## (\w+) ## \]\]")


def load(folder):
    """The model in that folder; an adapter is put on the model that it names."""
    if (Path(folder) / "adapter_config.json").exists():
        from peft import AutoPeftModelForCausalLM

        return AutoPeftModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def is_well_formed(answer, fields):
    """Whether it has those fields, `completed` being the last, as DSPy's chat adapter writes them."""
    *values, end = fields
    pattern = "".join(rf"\[\[ ## {name} ## \]\]\n(?!\[\[)\S[^\[]*?\n\n" for name in values) + rf"\[\[ ## {end} ## \]\]"
    return re.fullmatch(pattern, answer.strip()) is not None


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("model")
    arguments.add_argument("rows")
    arguments.add_argument("--limit", type=int, default=25)
    arguments = arguments.parse_args()

    tokens = AutoTokenizer.from_pretrained(arguments.model)
    model = load(arguments.model).eval()
    rows = [json.loads(line) for line in open(arguments.rows, encoding="utf-8")][: arguments.limit]
    well_formed = exact = 0
    first = None
    for row in rows:
        *asked, gold = row["messages"]
        prompt = tokens.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            out = model.generate(
                **prompt,
                max_new_tokens=MOST_TOKENS,
                do_sample=False,
                eos_token_id=tokens.eos_token_id,
                pad_token_id=tokens.pad_token_id,
            )
        answer = tokens.decode(out[0][prompt["input_ids"].shape[1] :], skip_special_tokens=True)
        first = answer if first is None else first
        well_formed += is_well_formed(answer, FIELD.findall(gold["content"]))
        exact += answer.strip() == gold["content"].strip()
    print(json.dumps({"asked": len(rows), "well_formed": well_formed, "exact": exact, "first": first}))


if __name__ == "__main__":
    main()
