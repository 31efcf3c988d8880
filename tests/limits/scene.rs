//! A job with two calls per example, and the server that limits it.

use crate::cli::cluster::Cluster;
use crate::support::{Ended, Folder, JobFile, Running, lines};
use bsft_limited_lm::{LimitedServer, ServedCounts, ServerBehaviour};

/// Examples of a job.
pub(crate) const EXAMPLES: usize = 300;

/// Requests that a job needs.
pub(crate) const CALLS: u64 = 2 * EXAMPLES as u64;

/// The variable that holds the API key.
pub(crate) const KEY: &str = "LM_TEST_KEY";

pub(crate) const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// A folder with the job, and its LM server.
pub(crate) struct Scene {
    pub(crate) folder: Folder,
    pub(crate) server: LimitedServer,
}

impl Scene {
    pub(crate) fn new(behaviour: ServerBehaviour) -> Scene {
        Scene::with_lm(behaviour, "")
    }

    /// With more TOML after the keys of `[lm.teacher]`.
    pub(crate) fn with_lm(behaviour: ServerBehaviour, more: &str) -> Scene {
        let server = LimitedServer::start(behaviour).unwrap();
        let folder = Folder::new();
        let base = server.base();
        let teacher =
            format!("model = \"openai/teacher\"\napi_base = \"{base}\"\napi_key_env = \"{KEY}\"\n{more}");
        JobFile::with_teacher(&teacher).write(&folder, EXAMPLES);
        Scene { folder, server }
    }

    /// Compiles with these further arguments and the API key `first`.
    pub(crate) fn compile(&self, arguments: &[&str]) -> Ended {
        self.compile_with_key("first", arguments)
    }

    pub(crate) fn compile_with_key(&self, key: &str, arguments: &[&str]) -> Ended {
        let arguments = [&COMPILE, arguments].concat();
        self.folder.start_with(&arguments, &[(KEY, key)]).end()
    }

    /// Compiles on workers of a cluster.
    pub(crate) fn compile_on(&self, cluster: &Cluster) -> Ended {
        cluster.run_in(&self.folder, &COMPILE)
    }

    /// Lines of the run's `failures.jsonl`.
    pub(crate) fn failures(&self) -> Vec<serde_json::Value> {
        lines(&self.folder.read("run/failures.jsonl"))
    }

    /// Calls whose answers were lost, by `run.json`.
    pub(crate) fn unsettled(&self) -> u64 {
        let manifest: serde_json::Value = serde_json::from_str(&self.folder.read("run/run.json")).unwrap();
        manifest["tally"]["unsettled"]["teacher"]["calls"]
            .as_u64()
            .unwrap_or_default()
    }

    /// Asserts that every example has a trace, that no call was answered twice, and that nothing failed.
    #[track_caller]
    pub(crate) fn assert_complete(&self) -> ServedCounts {
        let counts = self.server.counts();
        let failures = self.failures();
        assert!(
            failures.is_empty(),
            "{} failed, the first of them: {}\n{counts:?}",
            failures.len(),
            failures[0]
        );
        assert_eq!(self.folder.traced("run"), EXAMPLES, "{counts:?}");
        assert_eq!(counts.answered_twice, 0, "{counts:?}");
        assert_eq!(counts.answers, CALLS, "{counts:?}");
        counts
    }
}

/// Starts workers of a cluster with this API key, which they may send to the servers of the scenes.
pub(crate) fn workers(cluster: &Cluster, scenes: &[&Scene], number: usize, key: &str) -> Vec<Running> {
    let bases: Vec<String> = scenes.iter().map(|scene| scene.server.base()).collect();
    let pairs: Vec<(&str, &str)> = bases.iter().map(|base| (KEY, &**base)).collect();
    let keys = scenes[0].folder.keys_file(&pairs);
    let arguments = ["--concurrency", "16", "--keys", &keys];
    let start = |_| cluster.worker_with(&arguments, &[(KEY, key)]);
    (0..number).map(start).collect()
}
