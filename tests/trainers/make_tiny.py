"""Makes what the acceptance test of trainers needs, without a download: a random Llama of about 100,000 parameters with a
tokenizer and a chat template, and a small task it can learn.

    make_tiny.py DIR     writes DIR/model, DIR/train.jsonl (100 examples) and DIR/held.jsonl (25 others)

The same files every time. Needs torch, transformers and tokenizers.
"""

import itertools
import json
import random
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TRAIN, HELD = 100, 25

# ChatML. The text of the assistant is marked: some trainers learn from those tokens only.
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# A message is about the thing it names: enough to learn for two small layers.
THINGS = {
    "card": ["my card is gone", "the card was eaten", "a card came broken", "no card came", "the new card is late"],
    "transfer": ["the transfer hangs", "a transfer is missing", "my transfer came back", "stop the transfer", "no transfer came"],
    "fee": ["a fee too high", "the fee is new to me", "why this fee", "my fee came twice", "give back the fee"],
    "pin": ["the pin is refused", "a new pin please", "my pin is old", "somebody knows my pin", "no pin came"],
}
BEFORE = ["hello,", "good day,", "listen,", "please help,", "again,", "sorry,", "help,"]
AFTER = ["thank you.", "what now?", "please answer.", "since monday.", "in berlin.", "bye.", "it is urgent."]


def examples() -> list[dict[str, str]]:
    """All of them, in an order that a seed decides."""
    rows = [
        {"text": f"{before} {core} {after}", "label": label}
        for label, cores in THINGS.items()
        for before, core, after in itertools.product(BEFORE, cores, AFTER)
    ]
    random.Random(0).shuffle(rows)
    return rows


def tokenizer(rows: list[dict[str, str]]) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that every text has tokens, which knows the words that DSPy's prompts are made of."""
    known = [
        "Your input fields are: Your output fields are: 1. `text` (str): 1. `label` (str):",
        "All interactions will be structured in the following way, with the appropriate values filled in.",
        "[[ ## text ## ]]\n{text}\n\n[[ ## label ## ]]\n{label}\n\n[[ ## completed ## ]]",
        "In adhering to this structure, your objective is: Given the fields `text`, produce the fields `label`.",
        "Respond with the corresponding output fields, starting with the field `[[ ## label ## ]]`,",
        "and then ending with the marker for `[[ ## completed ## ]]`.",
        "system user assistant",
    ]
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokens.train_from_iterator(known * 5 + [row["text"] + "\n" + row["label"] for row in rows[:TRAIN]], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<|im_end|>", pad_token="<|pad|>")
    made.chat_template = TEMPLATE
    return made


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    rows = examples()
    for name, part in [("train", rows[:TRAIN]), ("held", rows[TRAIN : TRAIN + HELD])]:
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))

    tokens = tokenizer(rows)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokens),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            # With the usual 0.02 an adapter could not learn: the embeddings, which it leaves as they are, would be too small for
            # any token to become likely.
            initializer_range=0.15,
            bos_token_id=None,
            eos_token_id=tokens.eos_token_id,
            pad_token_id=tokens.pad_token_id,
        )
    )
    tokens.save_pretrained(folder / "model")
    model.save_pretrained(folder / "model")
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(tokens)} tokens, {len(rows)} possible examples")


if __name__ == "__main__":
    main()
