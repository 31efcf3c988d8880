//! Fine-tune jobs that a trainer on this machine carries out: the trainer is a script that files control.

mod embedded;
mod environment;
mod killed_processes;
mod openai_service;
mod training_metrics;

use crate::support::{Folder, JobFile, until};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const EXAMPLES: usize = 12;

const COMPILE: [&str; 6] = [
    "compile",
    "job.toml",
    "--out",
    "run",
    "--trainers",
    "trainers.toml",
];

/// Records its start, runs until a file makes it finish or fail, and writes its input as its result.
const SCRIPT: &str = r#"
trap 'echo "$FT_NAME" >> "$CONTROL/stopped"; exit 0' TERM
echo "$FT_NAME $$ ${FT_RESUME_DIR:-fresh}" >> "$CONTROL/starts"
step=0
while [ ! -e "$CONTROL/finish" ]; do
    # The test is over, however it ended.
    [ -d "$CONTROL" ] || exit 9
    if [ -e "$CONTROL/fail" ]; then
        case "$FT_NAME" in *"$(cat "$CONTROL/fail")"*) echo "the trainer has had enough" >&2; exit 3 ;; esac
    fi
    step=$((step + 1))
    echo "{\"step\": $step, \"loss\": 0.25}" >> "$FT_PROGRESS_FILE"
    sleep 0.05
done
mkdir -p "$1"
cp "$2" "$1/model.safetensors"
"#;

const TRAINERS: &str = r#"
at_once = 2

[trainer.scripted]
argv = ["sh", "{config_dir}/trainer.sh", "{output_dir}", "{train_file}"]
env = { CONTROL = "{config_dir}/control" }
result = { any_of = ["model.safetensors"] }
cancel = { grace_secs = 120 }
defaults = { n_epochs = 3 }
keys = ["n_epochs"]
"#;

/// A folder with a job and a trainer for it.
struct Trained {
    folder: Folder,
}

impl Trained {
    /// One student, one training.
    fn new() -> Trained {
        Trained::with_job(JobFile::with_teacher("model = \"simulated/x\""))
    }

    fn with_job(mut job: JobFile) -> Trained {
        let folder = Folder::new();
        job.finetune = "provider = \"command\"\ntrainer = \"scripted\"\ntrain = { n_epochs = 2 }".to_owned();
        job.write(&folder, EXAMPLES);
        folder.write("trainer.sh", SCRIPT);
        folder.write("trainers.toml", TRAINERS);
        fs::create_dir(folder.path("control")).unwrap();
        Trained { folder }
    }

    /// Every start of a trainer so far: which, its process, and where it resumed.
    fn starts(&self) -> Vec<Start> {
        let text = fs::read_to_string(self.folder.path("control/starts")).unwrap_or_default();
        // A line that is being written is no start yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(Start::parse).collect()
    }

    fn until_started(&self, times: usize) -> Start {
        until("a trainer to start", || self.starts().get(times - 1).cloned())
    }

    fn stopped(&self) -> usize {
        let text = fs::read_to_string(self.folder.path("control/stopped")).unwrap_or_default();
        text.lines().count()
    }

    /// Lets the trainers finish.
    fn finish(&self) {
        self.folder.write("control/finish", "");
    }

    /// Lets those fail whose name has that in it.
    fn fail(&self, name: &str) {
        self.folder.write("control/fail", name);
    }

    fn manifest(&self) -> Value {
        serde_json::from_str(&self.folder.read("run/run.json")).unwrap()
    }

    fn until_known(&self) {
        until("the coordinator to know how far the training is", || {
            let manifest = self.manifest();
            manifest["shards"][0]["progress"]["step"].as_u64()
        });
    }

    /// The models of the compiled student, by predictor.
    fn models(&self) -> Vec<String> {
        let student: Value = serde_json::from_str(&self.folder.read("run/compiled.json")).unwrap();
        ["plan", "answer.predict"]
            .map(|predictor| student[predictor]["lm"]["model"].as_str().unwrap().to_owned())
            .into()
    }

    /// What is trained is what was written, and the student names it.
    fn check_models(&self) {
        let manifest = self.manifest();
        let files = manifest["shards"].as_array().unwrap().iter();
        let files: Vec<String> = files
            .map(|shard| format!("run/{}", shard["file"].as_str().unwrap()))
            .collect();
        for (index, model) in self.models().iter().enumerate() {
            let path = model.strip_prefix("openai/").unwrap();
            let weights = fs::read_to_string(Path::new(path).join("model.safetensors")).unwrap();
            let rows = self.folder.read(&files[index.min(files.len() - 1)]);
            assert_eq!(weights.lines().count(), rows.lines().count(), "{model}");
        }
    }
}

/// A start of a trainer.
#[derive(Clone, Debug, PartialEq)]
struct Start {
    name: String,
    pid: u32,
    resumed: Option<PathBuf>,
}

impl Start {
    fn parse(line: &str) -> Start {
        let mut words = line.split(' ');
        let name = words.next().unwrap().to_owned();
        let pid = words.next().unwrap().parse().unwrap();
        let resumed = words.next().filter(|word| *word != "fresh").map(PathBuf::from);
        Start { name, pid, resumed }
    }

    /// Kills the trainer with the wrapper and all: as when a machine loses its power.
    fn vanish(&self) {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        // Behind the name in brackets: state, parent, group.
        let group = stat.rsplit(") ").next().unwrap().split(' ').nth(2).unwrap();
        let killed = Command::new("kill")
            .args(["-KILL", "--", &format!("-{group}")])
            .status();
        assert!(killed.unwrap().success());
    }

    fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }
}
