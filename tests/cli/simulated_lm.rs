//! Seeded random jobs on the simulated LM: concurrency and workers do not change the files.

use crate::support::{Folder, JobFile, same};

/// A small generator, so that a failing case is found again by its number.
struct Draw(u64);

impl Draw {
    /// Below `n`, by SplitMix64.
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn rate(&mut self, most: u64) -> f64 {
        self.below(most + 1) as f64 / 100.0
    }
}

fn job(draw: &mut Draw) -> JobFile {
    let mut job = JobFile::with_teacher(&format!(
        "model = \"simulated/teacher\"\nsimulate = {{ accuracy = {:.2}, malformed_rate = {:.2}, error_rate = {:.2}, latency_ms = {}, seed = {} }}",
        0.5 + draw.rate(50),
        draw.rate(40),
        draw.rate(10),
        draw.below(3),
        draw.below(1000),
    ));
    if draw.below(2) == 0 {
        job.teachers.push_str("\n[[teacher]]\nlm = \"teacher\"");
    }
    if draw.below(3) == 0 {
        job.metric = String::new();
    }
    job.compile = format!(
        "multitask = {}\nexclude_demos = {}\nadapter = \"{}\"\nmax_failure_rate = 1.0",
        draw.below(2) == 0,
        draw.below(2) == 0,
        if draw.below(2) == 0 { "chat" } else { "json" }
    );
    job
}

#[test]
fn files_are_the_same_at_any_concurrency_and_workers() {
    for case in 0..20 {
        let mut draw = Draw(case);
        let (job, examples) = (job(&mut draw), 10 + draw.below(60) as usize);
        let runs = [("1", "1"), ("64", "1"), ("5", "3")].map(|(concurrency, workers)| {
            let folder = Folder::new();
            job.write(&folder, examples);
            let arguments = [
                "compile",
                "job.toml",
                "--out",
                "run",
                "--concurrency",
                concurrency,
                "--workers",
                workers,
            ];
            let ended = folder.run(&arguments);
            assert_eq!(
                ended.code,
                Some(0),
                "case {case}: {}\n{}",
                job.to_toml(),
                ended.stderr
            );
            let mut result = folder.result("run");
            result.insert("failures.jsonl".to_owned(), folder.read("run/failures.jsonl"));
            result
        });
        let [one, many, few] = &runs;
        same(one, many);
        same(one, few);
    }
}
