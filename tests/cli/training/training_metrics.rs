//! The metrics of a running compile match `run.json`.

use super::{COMPILE, EXAMPLES, Trained};
use crate::cli::metrics::Watched;
use crate::support::{JobFile, LmServer, until};

#[test]
fn metrics_of_a_running_compile_match_run_json() {
    let server = LmServer::start_on(0, &["--profile", "mild", "--fail-first", "0.3"]);
    let trained = Trained::with_job(JobFile::at(&server.base()));
    let running = trained
        .folder
        .start(&[&COMPILE[..], &["--metrics-addr", ":0"]].concat());
    let watched = Watched::new(&running);
    trained.until_started(1);
    trained.until_known();

    let (manifest, scrape) = until("the metrics to show how far the training is", || {
        let scrape = watched.scrape();
        // Set after the step: a scrape may come in between.
        scrape.get("bsft_finetune_loss{lm_key=\"student\"}")?;
        // Looked up now and then; the worker may have come after the first look.
        let has_worker = scrape.get("bsft_run_workers") == Some(1.0);
        has_worker.then(|| (trained.manifest(), scrape))
    });
    let (tally, teacher) = (&manifest["tally"], &manifest["tally"]["lms"]["teacher"]);
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    assert_eq!(scrape.get("bsft_run_tasks"), Some(EXAMPLES as f64));
    assert_eq!(scrape.sum("bsft_run_tasks_done"), EXAMPLES as f64);
    assert_eq!(
        scrape.get("bsft_run_tasks_done{outcome=\"kept\"}"),
        Some(number(&tally["kept"]))
    );
    assert_eq!(scrape.get("bsft_run_tasks_outstanding"), Some(0.0));
    for (kind, key) in [("prompt", "prompt_tokens"), ("completion", "completion_tokens")] {
        let tokens = number(&teacher[key]);
        assert_eq!(
            scrape.get(&format!("bsft_run_tokens{{kind=\"{kind}\",lm=\"teacher\"}}")),
            Some(tokens)
        );
        let labels = format!("kind=\"{kind}\",lm=\"teacher\",model=\"openai/teacher\"");
        assert_eq!(
            scrape.get(&format!("bsft_lm_tokens_total{{{labels}}}")),
            Some(tokens)
        );
    }
    let run = manifest["run"].as_str().unwrap();
    assert_eq!(
        scrape.get(&format!("bsft_run_info{{name=\"tested\",run=\"{run}\"}}")),
        Some(1.0)
    );
    assert_eq!(scrape.get("bsft_run_phase{phase=\"train\"}"), Some(1.0));
    assert_eq!(scrape.sum("bsft_run_phase"), 1.0);
    assert_eq!(scrape.get("bsft_run_cost_dollars"), None, "the job has no price");
    assert_eq!(scrape.get("bsft_finetune_jobs{state=\"open\"}"), Some(1.0));
    assert_eq!(scrape.get("bsft_finetune_loss{lm_key=\"student\"}"), Some(0.25));

    let asked = server.count().requests as f64;
    assert_eq!(scrape.sum("bsft_lm_requests_total"), asked);
    assert_eq!(
        scrape.sum("bsft_lm_requests_total") - scrape.sum("bsft_lm_retries_total"),
        answered(&scrape)
    );
    assert!(scrape.sum("bsft_lm_retries_total") > 0.0);
    assert!(scrape.get("bsft_worker_tasks_in_flight{lane=\"finetune\"}") >= Some(1.0));
    assert_eq!(
        scrape.get("bsft_service_up{service=\"redis\"}"),
        None,
        "there is none"
    );
    assert_eq!(watched.get("/readyz"), (200, "ok\n".to_owned()));
    assert_eq!(watched.get("/healthz"), (200, "ok\n".to_owned()));

    trained.finish();
    running.end().with(0);
}

fn answered(scrape: &crate::cli::metrics::Scrape) -> f64 {
    let labels = "lm=\"teacher\",model=\"openai/teacher\",status=\"200\"";
    scrape
        .get(&format!("bsft_lm_requests_total{{{labels}}}"))
        .unwrap()
}
