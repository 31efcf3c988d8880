//! The keys of `train` that Together accepts.

use super::{Allowed, TrainKey};

/// The arguments of the SDK's `fine_tuning.create` that apply to rows of messages.
pub(in crate::finetune) const TOGETHER_KEYS: [TrainKey; 26] = [
    ("n_epochs", Allowed::Whole(1)),
    ("batch_size", Allowed::WholeOr(1, "max")),
    ("learning_rate", Allowed::Positive),
    ("lr_scheduler_type", Allowed::Word(&["cosine", "linear"])),
    ("min_lr_ratio", Allowed::Fraction),
    ("scheduler_num_cycles", Allowed::Positive),
    ("warmup_ratio", Allowed::Fraction),
    ("max_grad_norm", Allowed::AtLeast(0.0)),
    ("weight_decay", Allowed::AtLeast(0.0)),
    ("packing", Allowed::Flag),
    ("max_seq_length", Allowed::Whole(1)),
    ("gradient_accumulation_steps", Allowed::Whole(0)),
    ("n_evals", Allowed::Whole(0)),
    ("n_checkpoints", Allowed::Whole(1)),
    ("train_on_inputs", Allowed::FlagOr("auto")),
    ("random_seed", Allowed::Whole(0)),
    ("lora", Allowed::Flag),
    ("lora_r", Allowed::Whole(1)),
    ("lora_alpha", Allowed::Whole(1)),
    ("lora_dropout", Allowed::Fraction),
    ("lora_trainable_modules", Allowed::Text),
    ("early_stopping_enabled", Allowed::Flag),
    ("early_stopping_patience", Allowed::Whole(1)),
    ("early_stopping_min_delta", Allowed::AtLeast(0.0)),
    ("early_stopping_warmup_evals", Allowed::Whole(0)),
    ("wandb_project_name", Allowed::Text),
];
