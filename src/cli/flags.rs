//! The flags of `bsft` and of `bsft-worker`.

use super::log_flags::LogFlags;
use crate::command_name::command_name;
use crate::memory::{MemoryBudget, MemorySize};
use crate::telemetry::LogOptions;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

/// What the overview ends with.
const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 the job failed, 2 bad usage or job file, 3 interrupted, or a daily quota is
used up (run again to resume), 4 RabbitMQ, Redis or an LM server cannot be reached, 70 a bug";

/// Compiles DSPy students: runs a teacher over a trainset, fine-tunes the student's LMs on the traces that pass the metric, and
/// writes the student with its new models.
#[derive(Debug, Parser)]
#[command(name = command_name(), version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: CliCommand,
    /// Log options.
    #[command(flatten)]
    pub log: LogFlags,
}

impl Cli {
    /// The log options of this command.
    pub(super) fn log_options(&self) -> LogOptions {
        match &self.command {
            CliCommand::Compile(_) | CliCommand::Retry(_) | CliCommand::Worker(_) => self.log.for_service(),
            CliCommand::Plan { .. }
            | CliCommand::Check { .. }
            | CliCommand::Status(_)
            | CliCommand::Cancel(_)
            | CliCommand::Init { .. }
            | CliCommand::Explain { .. }
            | CliCommand::Schema { .. }
            | CliCommand::Completions { .. }
            | CliCommand::Man { .. } => self.log.for_person(),
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Compile a job; run the same command again to resume it
    Compile(CompileFlags),
    /// Show what a job would run: tasks, LM calls, tokens, cost. Makes no LM calls
    Plan {
        /// The job file (.toml or .json)
        job: PathBuf,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Check a job file and everything that it names, and print all problems at once. Runs nothing
    Check {
        /// The job file (.toml or .json)
        job: PathBuf,
    },
    /// Show the progress of runs and the workers that are connected
    Status(StatusFlags),
    /// Stop a run cleanly: tasks in flight finish, and compile resumes the run
    Cancel(CancelFlags),
    /// Retry what failed in a run: its failed trainings if there are any, otherwise its failed examples
    Retry(RetryFlags),
    /// Write a small example job that compiles without changes
    Init {
        /// The directory to write it to
        dir: PathBuf,
    },
    /// Run a worker of a cluster: execute the tasks of all runs on RabbitMQ and Redis (same as bsft-worker)
    Worker(WorkerArgs),
    /// Explain a key of the job file or the trainers file, such as metric.f1
    Explain {
        /// The key with its tables: `data`, `metric.f1`, `lm.*.finetune.train`
        key: String,
    },
    /// Print the JSON Schema of the job file or the trainers file, for editors
    Schema {
        /// The file
        subject: SchemaSubject,
        /// Print the page of the reference as Markdown
        #[arg(long)]
        markdown: bool,
    },
    /// Print a script that completes commands and flags in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write man pages
    Man {
        /// The directory to write them to
        dir: PathBuf,
    },
}

/// Flags of `compile`.
#[derive(Clone, Debug, Args)]
pub struct CompileFlags {
    /// The job file (.toml or .json)
    pub job: PathBuf,
    /// The run directory, for all files of the run [default: runs/<name>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace every LM and fine-tune provider by a simulated one: offline and free
    #[arg(long)]
    pub rehearse: bool,
    /// Wait up to compile.patience for an LM server that has not answered in this run yet [default: stop within 10 s]
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub workers: WorkerFlags,
}

/// Flags of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusFlags {
    /// The run directory, or with RabbitMQ and Redis the run id [default: all runs in ./runs, or in the namespace]
    pub run: Option<PathBuf>,
    /// Print JSON on stdout
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub services: ServiceFlags,
}

/// Flags of `cancel`.
#[derive(Clone, Debug, Args)]
pub struct CancelFlags {
    /// The run directory, or with RabbitMQ and Redis the run id
    pub run: PathBuf,
    #[command(flatten)]
    pub services: ServiceFlags,
}

/// Flags of `retry`.
#[derive(Clone, Debug, Args)]
pub struct RetryFlags {
    /// The run directory
    pub run: PathBuf,
    #[command(flatten)]
    pub workers: WorkerFlags,
}

/// The workers of this process.
#[derive(Clone, Debug, Args)]
pub struct WorkerFlags {
    /// Number of workers in this process [default: 1; with RabbitMQ and Redis: none]
    #[arg(long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
    /// Maximum number of LM calls in flight per worker
    #[arg(long, value_name = "N", default_value = "64")]
    pub concurrency: NonZeroUsize,
    #[command(flatten)]
    pub memory: MemoryFlags,
    /// TOML file that maps trainer names to commands, for fine-tune jobs of the provider `command`
    #[arg(long, value_name = "FILE")]
    pub trainers: Option<PathBuf>,
    #[command(flatten)]
    pub services: ServiceFlags,
    #[command(flatten)]
    pub monitor: MonitorFlags,
}

/// The memory of this process.
#[derive(Clone, Copy, Debug, Args)]
pub struct MemoryFlags {
    /// Memory for answers and rows longer than 64 KiB, such as 256M; one task at a time may exceed it [default: 128M, or a quarter of the
    /// memory limit if that is less]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<MemorySize>,
}

impl MemoryFlags {
    /// The budget of this process.
    pub(super) fn budget(self) -> Arc<MemoryBudget> {
        let size = self.memory.unwrap_or_else(MemorySize::for_this_process);
        Arc::new(MemoryBudget::new(size))
    }
}

/// Metrics and health.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster options")]
pub struct MonitorFlags {
    /// Serve /metrics, /healthz and /readyz at [HOST:]PORT; the default host is 127.0.0.1, port 0 takes a free port
    #[arg(long, value_name = "ADDR", env = "BSFT_METRICS_ADDR")]
    pub metrics_addr: Option<String>,
}

/// The services of a cluster. Without both, everything runs in one process.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster options")]
pub struct ServiceFlags {
    /// URL of RabbitMQ (amqp:// or amqps://); requires --redis-url
    #[arg(long, value_name = "URL", env = "BSFT_AMQP_URL", hide_env_values = true)]
    pub amqp_url: Option<String>,
    /// URL of Redis (redis:// or rediss://); requires --amqp-url
    #[arg(long, value_name = "URL", env = "BSFT_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Prefix of all queues and keys, to separate environments that share RabbitMQ and Redis
    #[arg(long, value_name = "NAME", env = "BSFT_NAMESPACE", default_value = "default")]
    pub namespace: String,
}

/// Executes the tasks of all runs on RabbitMQ and Redis: teachers on examples, and fine-tune jobs. Any number of workers can run,
/// on any machines.
#[derive(Debug, Parser)]
#[command(name = "bsft-worker", version, max_term_width = 100)]
pub struct WorkerCommand {
    /// The flags of the worker.
    #[command(flatten)]
    pub worker: WorkerArgs,
    /// Log options.
    #[command(flatten)]
    pub log: LogFlags,
}

/// Flags of `worker`.
#[derive(Clone, Debug, Args)]
pub struct WorkerArgs {
    /// Kinds of tasks to take, separated by commas
    #[arg(
        long,
        value_name = "LANES",
        value_delimiter = ',',
        default_value = "bootstrap,finetune"
    )]
    pub lanes: Vec<QueueName>,
    /// Maximum number of LM calls in flight
    #[arg(long, value_name = "N", default_value = "64")]
    pub concurrency: NonZeroUsize,
    #[command(flatten)]
    pub memory: MemoryFlags,
    /// Drain timeout in seconds: how long tasks in flight may take after SIGTERM or Ctrl-C before they are returned to the queue
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub drain: u64,
    /// TOML file that maps trainer names to commands, for fine-tune jobs of the provider `command`
    #[arg(long, value_name = "FILE")]
    pub trainers: Option<PathBuf>,
    #[command(flatten)]
    pub services: ServiceFlags,
    #[command(flatten)]
    pub monitor: MonitorFlags,
}

/// A kind of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QueueName {
    /// Run a teacher on an example
    Bootstrap,
    /// Fine-tune an LM
    Finetune,
}

/// What there is a reference of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaSubject {
    /// The job file
    Job,
    /// The trainers file
    Trainers,
    /// The command line; as Markdown only
    #[value(hide = true)]
    Cli,
}
