//! The keys of `train` that Fireworks accepts.

use super::{Allowed, TrainKey};

/// The arguments of the SDK's `supervised_fine_tuning_jobs.create`: name, name in the request, allowed values.
pub(in crate::finetune) const FIREWORKS_KEYS: [(&str, &str, Allowed); 14] = [
    ("epochs", "epochs", Allowed::Whole(1)),
    ("learning_rate", "learningRate", Allowed::Positive),
    (
        "learning_rate_warmup_steps",
        "learningRateWarmupSteps",
        Allowed::Whole(0),
    ),
    ("lora_rank", "loraRank", Allowed::Whole(1)),
    ("batch_size", "batchSize", Allowed::Whole(1)),
    ("batch_size_samples", "batchSizeSamples", Allowed::Whole(1)),
    (
        "gradient_accumulation_steps",
        "gradientAccumulationSteps",
        Allowed::Whole(1),
    ),
    ("max_context_length", "maxContextLength", Allowed::Whole(1)),
    (
        "optimizer_weight_decay",
        "optimizerWeightDecay",
        Allowed::AtLeast(0.0),
    ),
    ("early_stop", "earlyStop", Allowed::Flag),
    ("eval_auto_carveout", "evalAutoCarveout", Allowed::Flag),
    ("is_turbo", "isTurbo", Allowed::Flag),
    ("nodes", "nodes", Allowed::Whole(1)),
    ("jinja_template", "jinjaTemplate", Allowed::Text),
];

/// The keys and their allowed values, without the names in the request.
pub(in crate::finetune) fn fireworks_keys() -> [TrainKey; 14] {
    FIREWORKS_KEYS.map(|(name, _, allowed)| (name, allowed))
}
