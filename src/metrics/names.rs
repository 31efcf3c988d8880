//! The name, kind, labels and meaning of every metric. The registry and `docs/reference/metrics.md` agree with this table.

/// The definition of a metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Definition {
    /// The name, by Prometheus' conventions.
    pub name: &'static str,
    pub kind: InstrumentKind,
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// The help text: a sentence without a full stop.
    pub help: &'static str,
}

/// The Prometheus type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstrumentKind {
    Counter,
    Gauge,
    Histogram,
}

impl InstrumentKind {
    /// The type's name in Prometheus' text format.
    pub fn name(self) -> &'static str {
        match self {
            InstrumentKind::Counter => "counter",
            InstrumentKind::Gauge => "gauge",
            InstrumentKind::Histogram => "histogram",
        }
    }
}

/// Defines every metric once: as a constant for the code that counts, and as an entry of [`ALL`].
macro_rules! table {
    ($($id:ident: $kind:ident $name:literal $labels:tt $help:literal;)*) => {
        $(pub(super) const $id: Definition =
            Definition { name: $name, kind: InstrumentKind::$kind, labels: &$labels, help: $help };)*

        /// All metrics, in the order of the documentation.
        pub const ALL: &[Definition] = &[$($id),*];
    };
}

table! {
    BUILD_INFO: Gauge "bsft_build_info" ["version"]
        "always 1; the version of bsft is its label";
    SERVICE_UP: Gauge "bsft_service_up" ["service"]
        "1 while RabbitMQ or Redis (service: rabbitmq, redis) answers, 0 otherwise; checked every 3 s; absent without them";
    SERVICE_WAITS: Counter "bsft_service_waits_total" ["service"]
        "calls that were retried because the service was unavailable";

    LM_REQUESTS: Counter "bsft_lm_requests_total" ["lm", "model", "status"]
        "HTTP requests that have ended, retries included, by the answer's status; none if no complete answer arrived";
    LM_REQUESTS_IN_FLIGHT: Gauge "bsft_lm_requests_in_flight" ["lm", "model"]
        "HTTP requests without an answer yet";
    LM_REQUEST_DURATION: Histogram "bsft_lm_request_duration_seconds" ["lm", "model"]
        "duration of each HTTP request, the answer's body included";
    LM_RETRIES: Counter "bsft_lm_retries_total" ["lm", "model"]
        "requests that retried an earlier one after a transient failure";
    LM_THROTTLES: Counter "bsft_lm_throttles_total" ["lm", "model"]
        "rate-limited answers: status 429, or a rate limit in the body of another answer";
    LM_TOKENS: Counter "bsft_lm_tokens_total" ["lm", "model", "kind"]
        "tokens that the server counted (kind: prompt, completion), those of unusable answers included";
    LM_COST: Counter "bsft_lm_cost_dollars_total" ["lm", "model"]
        "US dollars for these tokens; only where the job gives a price";
    LM_CACHE_HITS: Counter "bsft_lm_cache_hits_total" ["lm", "model"]
        "answers that were read from the store instead of requested again";

    ACCOUNT_WAITING: Gauge "bsft_account_waiting_calls" ["model", "address", "key"]
        "calls that wait for their turn at the gate of a model at this address; key is the name of the variable with its key";
    ACCOUNT_LIMIT: Gauge "bsft_account_limit_requests_per_second" ["model", "address", "key"]
        "requests a second that this process releases at most, declared or learnt; absent while nothing limits";
    ACCOUNT_THROTTLES: Counter "bsft_account_throttles_total" ["model", "address", "key"]
        "requests that the server refused for a rate limit";
    ACCOUNT_AWAY: Gauge "bsft_account_away_seconds" ["model", "address", "key"]
        "how long the server has not answered, while it counts as away and is probed; 0 while it answers";
    ACCOUNT_CLOSED: Gauge "bsft_account_closed" ["model", "address", "key", "cause"]
        "1 while the account is refused and calls are handed back (cause: key, quota, daily_quota, model, request); absent otherwise";
    ACCOUNT_LATENCY: Gauge "bsft_account_latency_seconds" ["model", "address", "key"]
        "median latency of the last answers; absent before the first";

    WORKER_TASKS: Counter "bsft_worker_tasks_total" ["lane", "outcome"]
        "tasks by what became of them here: kept, dropped (the metric refused the trace) or failed in the queue bootstrap; trained or failed \
         in finetune; in both interrupted (handed back while stopping), fenced (another attempt took over), refused (a message that is not \
         ours: dead letters)";
    WORKER_TASKS_IN_FLIGHT: Gauge "bsft_worker_tasks_in_flight" ["lane"]
        "tasks in hand";
    WORKER_TASK_DURATION: Histogram "bsft_worker_task_duration_seconds" ["lane"]
        "how long tasks took that were kept, dropped, trained or failed here; a training from its start where that is known, otherwise from \
         when this worker took it up";
    WORKER_FAILURES: Counter "bsft_worker_failures_total" ["kind"]
        "failed bootstrap tasks by kind, as in failures.jsonl";
    WORKER_LEASES_LOST: Counter "bsft_worker_leases_lost_total" []
        "attempts that lost their task: their lease expired and another attempt took over, or the store lost them";
    WORKER_PUT_OFF: Counter "bsft_worker_put_off_total" ["reason"]
        "deliveries that this worker could not execute and put off, by reason: unknown_run (no job in the store), other_version, damaged (the \
         store has what bsft did not write), job (cannot be built), lm (cannot be used here, for example without its key), provider (of a \
         training, in the same way), training (its state is unknown), service (a call failed)";
    WORKER_CONCURRENCY: Gauge "bsft_worker_concurrency" []
        "LM calls allowed in flight, over all workers of the process";

    RUN_INFO: Gauge "bsft_run_info" ["run", "name"]
        "always 1; which run this is";
    RUN_PHASE: Gauge "bsft_run_phase" ["phase"]
        "1 for the phase that the run is in (bootstrap, collect, train, compiled), 0 for the others";
    RUN_TASKS: Gauge "bsft_run_tasks" []
        "tasks of the run: teachers times examples";
    RUN_TASKS_DONE: Gauge "bsft_run_tasks_done" ["outcome"]
        "tasks with an outcome in DIR (kept, dropped, failed), those of earlier processes of the run included";
    RUN_TASKS_OUTSTANDING: Gauge "bsft_run_tasks_outstanding" []
        "tasks that are published and have no outcome yet";
    RUN_TASKS_REPUBLISHED: Counter "bsft_run_tasks_republished_total" []
        "tasks that were republished because their message was lost";
    RUN_TOKENS: Gauge "bsft_run_tokens" ["lm", "kind"]
        "tokens of the outcomes in DIR (kind: prompt, completion), those of earlier processes included";
    RUN_COST: Gauge "bsft_run_cost_dollars" []
        "US dollars for these tokens; absent if the price of an LM is unknown";
    RUN_UNSETTLED_CALLS: Gauge "bsft_run_unsettled_calls" ["lm"]
        "calls whose answers were lost, on the way or with a process: they may have been paid, and were made again";
    RUN_UNSETTLED_TOKENS: Gauge "bsft_run_unsettled_tokens" ["lm"]
        "the most tokens that these calls can have cost, apart from answers without max_tokens";
    RUN_WORKERS: Gauge "bsft_run_workers" []
        "workers with a recent heartbeat; absent while unknown";
    RUN_DIR_AVAILABLE: Gauge "bsft_run_dir_available_bytes" []
        "bytes available to bsft on DIR's file system";
    QUEUE_MESSAGES: Gauge "bsft_queue_messages" ["lane"]
        "messages that wait for a worker (lane: bootstrap, finetune); absent while unknown";
    QUEUE_DEAD_LETTERS: Gauge "bsft_queue_dead_letters" ["lane"]
        "messages that were rejected, or failed too often; absent while unknown";
    FINETUNE_JOBS: Gauge "bsft_finetune_jobs" ["state"]
        "fine-tune jobs of the run (state: open, trained, failed)";
    FINETUNE_PROGRESS: Gauge "bsft_finetune_progress_ratio" ["lm_key"]
        "completed fraction of an open training, 0 to 1; absent while unknown. lm_key is the LM, or LM@predictor";
    FINETUNE_STEP: Gauge "bsft_finetune_step" ["lm_key"]
        "current step of an open training; absent while unknown";
    FINETUNE_LOSS: Gauge "bsft_finetune_loss" ["lm_key"]
        "latest training loss of an open training; absent while unknown";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn definition_names_follow_prometheus_conventions() {
        let mut seen = HashSet::new();
        for Definition {
            name,
            kind,
            labels,
            help,
        } in ALL
        {
            assert!(seen.insert(name), "{name} is defined twice");
            let is_plain = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(name.starts_with("bsft_") && is_plain(name), "{name}");
            assert!(labels.iter().all(|label| is_plain(label)), "{name} {labels:?}");
            assert_eq!(
                name.ends_with("_total"),
                *kind == InstrumentKind::Counter,
                "{name}"
            );
            assert!(
                *kind != InstrumentKind::Histogram || name.ends_with("_seconds"),
                "{name}"
            );
            for reserved in ["_count", "_sum", "_bucket"] {
                assert!(!name.ends_with(reserved), "{name}");
            }
            for scaled in [
                "_ms",
                "_milliseconds",
                "_minutes",
                "_kb",
                "_megabytes",
                "_percent",
            ] {
                assert!(!name.contains(scaled), "{name} is not in a base unit");
            }
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}: {help}");
        }
    }

    /// The rows of the table in `docs/reference/metrics.md`: name, type, labels, meaning.
    fn documented() -> Vec<[String; 4]> {
        let text = include_str!("../../docs/reference/metrics.md");
        let rows = text.lines().filter(|line| line.starts_with("| `bsft_"));
        rows.map(|row| {
            let cells: Vec<String> = row
                .trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().replace('`', ""))
                .collect();
            cells
                .try_into()
                .unwrap_or_else(|cells| panic!("four cells: {cells:?}"))
        })
        .collect()
    }

    #[test]
    fn documentation_lists_exactly_the_metrics_of_all() {
        let defined = ALL.iter().map(|metric| {
            let Definition {
                name,
                kind,
                labels,
                help,
            } = metric;
            [name, kind.name(), &labels.join(", "), help].map(str::to_owned)
        });
        let defined: Vec<[String; 4]> = defined.collect();
        assert_eq!(documented(), defined);
    }
}
