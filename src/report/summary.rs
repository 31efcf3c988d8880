//! The last words of a run: what it came to and where the files are.

use super::counts::LmTotals;
use super::figures::{count, dollars, percent, short, time};
use super::manifest::Manifest;
use crate::run_dir::RunDir;
use crate::telemetry::Fields;
use std::fmt::Write as _;
use std::time::Duration;

/// A few lines for a person. `retry` is the command that does anew what has failed.
pub fn summary(manifest: &Manifest, dir: &RunDir, retry: &str) -> String {
    let counts = &manifest.counts;
    let seconds = Duration::from_secs_f64(manifest.seconds.values().sum::<f64>().clamp(0.0, 1e12));
    let mut out = String::new();
    let rehearsal = if manifest.rehearsal {
        " (a rehearsal: every LM and provider was simulated)"
    } else {
        ""
    };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "compiled {} in {}{rehearsal}", manifest.name, time(seconds));
    let _ = writeln!(
        out,
        "  examples   {} ran, {} kept ({}), {} failed",
        count(counts.traces as u64),
        count(counts.kept as u64),
        percent(counts.kept, counts.traces),
        count(counts.failed() as u64),
    );
    for (kind, failed) in &counts.failures {
        let _ = writeln!(
            out,
            "             {} {} failed",
            count(*failed as u64),
            kind.name()
        );
    }
    for (lm, totals) in &counts.lms {
        let _ = writeln!(
            out,
            "  lm {lm}: {} answers, {} + {} tokens, {}",
            count(totals.answers),
            short(totals.prompt_tokens),
            short(totals.completion_tokens),
            dollars(manifest.cost.get(lm).copied()),
        );
    }
    for shard in &manifest.shards {
        let model = shard
            .model
            .as_deref()
            .unwrap_or("not trained: the rows are yours to train on");
        let kept_back = shard.validation.as_ref().map(|file| file.rows);
        let kept_back = kept_back.map(|rows| format!(", {} kept back", count(rows)));
        let _ = writeln!(
            out,
            "  {} rows{} {} -> {model}",
            count(shard.rows),
            kept_back.unwrap_or_default(),
            shard.file
        );
    }
    let file = |path: std::path::PathBuf| path.display().to_string();
    let _ = writeln!(out, "  student    {}", file(dir.compiled()));
    if let Some(load) = &manifest.load {
        let _ = writeln!(out, "  in DSPy    {load}");
        if load.contains("allow_unsafe_lm_state") {
            let _ = writeln!(
                out,
                "             (its models are on a private server: without the flag DSPy drops their address and asks OpenAI)"
            );
        }
    }
    let _ = writeln!(out, "  traces     {}", file(dir.traces()));
    if counts.failed() > 0 {
        let _ = writeln!(out, "  failures   {} (again: {retry})", file(dir.failures()));
    }
    let _ = write!(out, "  manifest   {}", file(dir.manifest()));
    out
}

/// The same for programs: the fields of a log line.
pub(crate) fn summary_fields(manifest: &Manifest, dir: &RunDir) -> Fields {
    let counts = &manifest.counts;
    let spent = |tokens: fn(&LmTotals) -> u64| counts.lms.values().map(tokens).sum::<u64>();
    Fields::default()
        .with("rehearsal", manifest.rehearsal)
        .with("seconds", manifest.seconds.values().sum::<f64>())
        .with("ran", counts.traces)
        .with("kept", counts.kept)
        .with("failed", counts.failed())
        .with("answers", spent(|lm| lm.answers))
        .with("prompt_tokens", spent(|lm| lm.prompt_tokens))
        .with("completion_tokens", spent(|lm| lm.completion_tokens))
        .with("cost_usd", manifest.cost_of_all())
        .with("student", dir.compiled().display().to_string())
        .with("manifest", dir.manifest().display().to_string())
}
