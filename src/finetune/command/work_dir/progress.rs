//! The progress of a trainer, from `{progress_file}`, from its own log file in JSON lines, or from the lines it prints.

use super::{UNFINISHED, WorkDir};
use crate::finetune::TrainingProgress;
use crate::finetune::command::template::values::Values;
use crate::finetune::command::trainers::ProgressRule;
use serde_json::{Map, Value as Json};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

/// How many bytes of a file's end are read: hundreds of log lines.
pub(crate) const TAIL: u64 = 64 << 10;

/// The maximum length of a message in characters: one or two lines of a terminal.
const MAX_MESSAGE_CHARS: usize = 200;

/// Reads the current progress. Fields that no source contains are `None`.
pub(crate) fn read(rule: &ProgressRule, work: &WorkDir, values: &Values) -> TrainingProgress {
    let mut progress = TrainingProgress::default();
    if let Ok(text) = tail(&work.path("stdout.log"), TAIL) {
        from_lines(rule, &text, &mut progress);
    }
    let output = work.path(UNFINISHED);
    let written = rule.jsonl.iter().map(|name| output.join(name));
    for path in written.chain([work.path("progress.jsonl")]) {
        if let Ok(text) = tail(&path, TAIL) {
            from_json(&text, &mut progress);
        }
    }
    progress.percent = progress.percent.or_else(|| percent(&progress, values.epochs()));
    progress
}

/// When the trainer last wrote output. `None` before its first output.
pub(crate) fn last_output(rule: &ProgressRule, work: &WorkDir) -> Option<SystemTime> {
    let output = work.path(UNFINISHED);
    let files = ["stdout.log", "stderr.log", "progress.jsonl", "attempts"].map(|name| work.path(name));
    let files = files
        .into_iter()
        .chain(rule.jsonl.iter().map(|name| output.join(name)));
    files
        .filter_map(|path| fs::metadata(path).ok()?.modified().ok())
        .max()
}

fn percent(progress: &TrainingProgress, epochs: Option<f64>) -> Option<f64> {
    let steps = progress
        .step
        .zip(progress.total_steps)
        .filter(|(_, total)| *total > 0);
    let of_steps = steps.map(|(step, total)| step as f64 / total as f64);
    let share = of_steps.or_else(|| Some(progress.epoch? / epochs?))?;
    share.is_finite().then(|| (share * 100.0).clamp(0.0, 100.0))
}

/// Sets each field from the last line that contains it.
fn from_lines(rule: &ProgressRule, text: &str, progress: &mut TrainingProgress) {
    for line in text.split(['\n', '\r']) {
        for captures in rule.patterns.iter().filter_map(|pattern| pattern.captures(line)) {
            let get = |name: &str| number(captures.name(name)?.as_str());
            set(progress, get);
        }
    }
}

/// Sets the fields from JSON lines, with the names of bsft or of LLaMA-Factory.
fn from_json(text: &str, progress: &mut TrainingProgress) {
    for line in text.split(['\n', '\r']) {
        let Ok(fields) = serde_json::from_str::<Map<String, Json>>(line) else {
            continue;
        };
        let get = |name: &str| {
            let other = match name {
                "step" => "current_steps",
                "percent" => "percentage",
                name => name,
            };
            match fields.get(name).or_else(|| fields.get(other))? {
                Json::Number(value) => value.as_f64(),
                Json::String(text) => number(text),
                _ => None,
            }
        };
        set(progress, get);
        if let Some(message) = fields.get("message").and_then(Json::as_str) {
            let plain = message.chars().map(|c| if c.is_control() { ' ' } else { c });
            progress.message = Some(plain.take(MAX_MESSAGE_CHARS).collect());
        }
    }
}

fn set(progress: &mut TrainingProgress, get: impl Fn(&str) -> Option<f64>) {
    let count = |name| get(name).filter(|n| *n >= 0.0 && n.is_finite()).map(|n| n as u64);
    progress.step = count("step").or(progress.step);
    progress.total_steps = count("total_steps").or(progress.total_steps);
    progress.epoch = get("epoch").filter(|epoch| epoch.is_finite()).or(progress.epoch);
    // JSON has neither nan nor inf: a diverged loss is unset.
    progress.loss = get("loss").map_or(progress.loss, |loss| Some(loss).filter(|loss| loss.is_finite()));
    progress.percent = get("percent")
        .filter(|percent| percent.is_finite())
        .or(progress.percent);
}

fn number(text: &str) -> Option<f64> {
    text.trim().trim_matches(['\'', '"', '%']).parse().ok()
}

/// The last `most` bytes of a file as text; invalid UTF-8 is replaced.
pub(crate) fn tail(path: &Path, most: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finetune::command::trainers::DEFAULT_PATTERNS;
    use regex::Regex;

    fn printed(text: &str) -> TrainingProgress {
        let rule = ProgressRule {
            patterns: DEFAULT_PATTERNS.map(|p| Regex::new(p).unwrap()).to_vec(),
            jsonl: None,
        };
        let mut progress = TrainingProgress::default();
        from_lines(&rule, text, &mut progress);
        progress
    }

    #[test]
    fn from_lines_reads_quoted_numbers_of_trl() {
        let line = "{'loss': '5.844', 'grad_norm': '0.8203', 'learning_rate': '0.001', 'num_tokens': '1.23e+04', 'epoch': '0.07692'}";
        let progress = printed(&format!("x\r 5%|\u{2588}\r{line}\n"));
        assert_eq!((progress.loss, progress.epoch), (Some(5.844), Some(0.07692)));
        let end = "{'train_runtime': '4.915', 'train_loss': '5.764', 'epoch': '3'}";
        let progress = printed(&format!("{line}\n{end}\n✅ Training completed."));
        assert_eq!((progress.loss, progress.epoch), (Some(5.844), Some(3.0)));
    }

    #[test]
    fn diverged_loss_is_unset() {
        let progress = printed("{'loss': 2.5, 'epoch': 1.0}\n{'loss': 'nan', 'epoch': '2'}");
        assert_eq!((progress.loss, progress.epoch), (None, Some(2.0)));
        assert_eq!(printed("{'loss': 2.5e-05, 'epoch': 1.0}").loss, Some(2.5e-5));
    }

    #[test]
    fn from_json_reads_llama_factory_names() {
        let mut progress = TrainingProgress::default();
        let line = r#"{"current_steps":3,"total_steps":8,"loss":5.789,"epoch":0.5,"percentage":37.5,"elapsed_time":"0:00:01"}"#;
        from_json(
            &format!("half a li\n{line}\n{{\"message\": \"a\\nb\"}}\n{{\"st"),
            &mut progress,
        );
        assert_eq!((progress.step, progress.total_steps), (Some(3), Some(8)));
        assert_eq!((progress.percent, progress.loss), (Some(37.5), Some(5.789)));
        assert_eq!(progress.message.as_deref(), Some("a b"));
    }

    #[test]
    fn percent_follows_from_steps_or_epochs() {
        let at = |step, total_steps, epoch| TrainingProgress {
            step,
            total_steps,
            epoch,
            ..TrainingProgress::default()
        };
        assert_eq!(percent(&at(Some(1), Some(4), Some(0.9)), Some(1.0)), Some(25.0));
        assert_eq!(percent(&at(None, None, Some(1.5)), Some(3.0)), Some(50.0));
        assert_eq!(percent(&at(Some(1), Some(0), None), Some(3.0)), None);
    }
}
