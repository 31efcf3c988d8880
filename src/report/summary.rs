//! The summary of a compiled run: its results, their cost and its files.

use super::counts::LmTotals;
use super::figures::{count, dollars, percent, short, time};
use super::manifest::{Manifest, ShardReport};
use crate::run_dir::RunDir;
use crate::telemetry::Fields;
use std::time::Duration;

/// The longest time that is shown.
const MAX_SECONDS: f64 = 1e12;

/// The summary for people. `retry` is the command that runs failed examples again.
pub fn summary(manifest: &Manifest, dir: &RunDir, retry: &str) -> String {
    let seconds = Duration::from_secs_f64(manifest.seconds.values().sum::<f64>().clamp(0.0, MAX_SECONDS));
    let rehearsal = if manifest.rehearsal {
        " (a rehearsal: every LM and provider was simulated)"
    } else {
        ""
    };
    let mut lines = vec![format!(
        "compiled {} in {}{rehearsal}",
        manifest.name,
        time(seconds)
    )];
    lines.extend(outcome_lines(manifest));
    lines.extend(manifest.shards.iter().flat_map(shard_lines));
    lines.extend(file_lines(manifest, dir, retry));
    lines.join("\n")
}

fn outcome_lines(manifest: &Manifest) -> Vec<String> {
    let counts = &manifest.counts;
    let mut lines = vec![format!(
        "  examples   {} ran, {} kept ({}), {} failed",
        count(counts.traces as u64),
        count(counts.kept as u64),
        percent(counts.kept, counts.traces),
        count(counts.failed() as u64),
    )];
    let failures = counts.failures.iter();
    lines.extend(failures.map(|(kind, failed)| {
        let failed = count(*failed as u64);
        format!("             {failed} {} failed", kind.name())
    }));
    let common = manifest.common_failures.iter();
    lines.extend(common.map(|failure| format!("             {failure}")));
    lines.extend(counts.lms.iter().flat_map(|(lm, totals)| {
        let line = format!(
            "  lm {lm}: {} answers, {} + {} tokens, {}",
            count(totals.answers),
            short(totals.prompt_tokens),
            short(totals.completion_tokens),
            dollars(manifest.cost.get(lm).copied()),
        );
        let unknown = (totals.unknown_usage > 0).then(|| {
            format!(
                "{} of the answers came without usage: the tokens are not all, and the cost is unknown",
                count(totals.unknown_usage)
            )
        });
        let cut = counts
            .cut(lm)
            .map(|cut| format!("{cut}; compile.cut_answers = \"drop\" leaves such examples out"));
        let details = unknown.into_iter().chain(cut).chain(counts.by_endpoint(lm));
        let details: Vec<String> = details.map(|detail| format!("             {detail}")).collect();
        [line].into_iter().chain(details)
    }));
    let unsettled = counts.unsettled.iter();
    lines.extend(unsettled.map(|(lm, totals)| format!("  lm {lm}: {totals}")));
    lines
}

fn shard_lines(shard: &ShardReport) -> Vec<String> {
    let validation = shard.validation.as_ref();
    let validation = validation.map(|file| format!(", {} for validation", count(file.rows)));
    let line = format!(
        "  {} rows{} {} -> {}",
        count(shard.rows),
        validation.unwrap_or_default(),
        shard.file,
        shard
            .model
            .as_deref()
            .unwrap_or("not trained: train on the rows yourself"),
    );
    let warnings = shard.warnings.iter();
    [line]
        .into_iter()
        .chain(warnings.map(|warning| format!("             {warning}")))
        .collect()
}

fn file_lines(manifest: &Manifest, dir: &RunDir, retry: &str) -> Vec<String> {
    let mut lines = vec![format!("  student    {}", dir.compiled().display())];
    if let Some(load) = &manifest.load {
        lines.push(format!("  in DSPy    {load}"));
        if load.contains("allow_unsafe_lm_state") {
            lines.push(
                "             (its models are on a private server: without the flag DSPy drops their address and calls OpenAI)"
                    .to_owned(),
            );
        }
    }
    lines.push(format!("  traces     {}", dir.traces().display()));
    if manifest.counts.failed() > 0 {
        lines.push(format!(
            "  failures   {} (again: {retry})",
            dir.failures().display()
        ));
    }
    lines.push(format!("  manifest   {}", dir.manifest().display()));
    lines
}

/// The summary for programs: the fields of a log line.
pub(crate) fn summary_fields(manifest: &Manifest, dir: &RunDir) -> Fields {
    let counts = &manifest.counts;
    let total = |tokens: fn(&LmTotals) -> u64| counts.lms.values().map(tokens).fold(0, u64::saturating_add);
    Fields::default()
        .with("rehearsal", manifest.rehearsal)
        .with("seconds", manifest.seconds.values().sum::<f64>())
        .with("ran", counts.traces)
        .with("kept", counts.kept)
        .with("failed", counts.failed())
        .with("answers", total(|lm| lm.answers))
        .with("prompt_tokens", total(|lm| lm.prompt_tokens))
        .with("completion_tokens", total(|lm| lm.completion_tokens))
        .with("cut_answers", counts.cut_answers())
        .with("unknown_usage", total(|lm| lm.unknown_usage))
        .with("cost_usd", manifest.total_cost())
        .with(
            "unsettled_calls",
            counts.unsettled.values().map(|lm| lm.calls).sum::<u64>(),
        )
        .with("student", dir.compiled().display().to_string())
        .with("manifest", dir.manifest().display().to_string())
}
