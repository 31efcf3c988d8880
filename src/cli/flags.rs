//! The flags of `bsft` and of `bsft-worker`.

use crate::command_name::command_name;
use crate::telemetry::LogFormat;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::io::IsTerminal as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Compiles DSPy students: runs a teacher over a trainset, fine-tunes the student's LMs on the traces that a metric keeps, and
/// gives back the student with its new models.
#[derive(Debug, Parser)]
#[command(name = command_name(), version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: CliCommand,
    /// How it tells of itself
    #[command(flatten)]
    pub log: LogFlags,
}

impl Cli {
    /// How this command writes to stderr. What only answers a person is read by one, wherever it goes, until somebody says otherwise.
    pub(super) fn log_format(&self) -> LogFormat {
        match &self.command {
            CliCommand::Compile(_) | CliCommand::Retry(_) | CliCommand::Worker(_) => {
                self.log.format_of_a_service()
            }
            CliCommand::Plan { .. }
            | CliCommand::Check { .. }
            | CliCommand::Status(_)
            | CliCommand::Cancel(_)
            | CliCommand::Init { .. } => self.log.chosen().unwrap_or(LogFormat::Human),
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Compile a job; run it again and it goes on where it stopped
    Compile(CompileFlags),
    /// Show what would run: tasks, LM calls, tokens, cost. Asks nothing of any LM
    Plan {
        /// The job file (.toml or .json)
        job: PathBuf,
        /// Machine-readable, on stdout
        #[arg(long)]
        json: bool,
    },
    /// Read and check everything and tell all problems at once. Runs nothing
    Check {
        /// The job file (.toml or .json)
        job: PathBuf,
    },
    /// Show how far a run is, and who works on it
    Status(StatusFlags),
    /// Stop a run: what is in flight is finished, nothing is lost, and compile goes on with it
    Cancel(CancelFlags),
    /// Run the failed examples of a run again
    Retry(RetryFlags),
    /// Write a small example that compiles as it stands
    Init {
        /// Where to
        dir: PathBuf,
    },
    /// Run a worker of a cluster: execute the tasks of any run on RabbitMQ and Redis. The same as bsft-worker
    Worker(WorkerArgs),
}

/// Cli of `compile`.
#[derive(Clone, Debug, Args)]
pub struct CompileFlags {
    /// The job file (.toml or .json)
    pub job: PathBuf,
    /// Where everything of the run goes [default: runs/<name>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Swap every LM and every fine-tune provider for a simulated one: offline and free
    #[arg(long)]
    pub rehearse: bool,
    #[command(flatten)]
    pub workers: WorkerFlags,
}

/// Cli of `status`.
#[derive(Clone, Debug, Args)]
pub struct StatusFlags {
    /// The run's folder, or with RabbitMQ and Redis its id [default: every run in ./runs, or in the namespace]
    pub run: Option<PathBuf>,
    /// Machine-readable, on stdout
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub services: ServiceFlags,
}

/// Cli of `cancel`.
#[derive(Clone, Debug, Args)]
pub struct CancelFlags {
    /// The run's folder, or with RabbitMQ and Redis its id
    pub run: PathBuf,
    #[command(flatten)]
    pub services: ServiceFlags,
}

/// Cli of `retry`.
#[derive(Clone, Debug, Args)]
pub struct RetryFlags {
    /// The run's folder
    pub run: PathBuf,
    #[command(flatten)]
    pub workers: WorkerFlags,
}

/// Where work is done.
#[derive(Clone, Debug, Args)]
pub struct WorkerFlags {
    /// Workers inside this process [default: 1; with RabbitMQ and Redis: none]
    #[arg(long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
    /// LM calls that each worker has in flight at once
    #[arg(long, value_name = "N", default_value = "64")]
    pub concurrency: NonZeroUsize,
    /// A file that maps the names of trainers to commands, for fine-tune jobs of the provider `command`
    #[arg(long, value_name = "FILE")]
    pub trainers: Option<PathBuf>,
    #[command(flatten)]
    pub services: ServiceFlags,
    #[command(flatten)]
    pub monitor: MonitorFlags,
}

/// Who may look in.
#[derive(Clone, Debug, Args)]
pub struct MonitorFlags {
    /// Serve /metrics, /healthz and /readyz there, [HOST:]PORT; a port alone is 127.0.0.1's, 0 a free one
    #[arg(long, value_name = "ADDR", env = "BSFT_METRICS_ADDR")]
    pub metrics_addr: Option<String>,
}

/// The services that many machines work with. With neither, everything is done in one process.
#[derive(Clone, Debug, Args)]
pub struct ServiceFlags {
    /// RabbitMQ, amqp:// or amqps://; needs --redis-url too
    #[arg(long, value_name = "URL", env = "BSFT_AMQP_URL", hide_env_values = true)]
    pub amqp_url: Option<String>,
    /// Redis, redis:// or rediss://; needs --amqp-url too
    #[arg(long, value_name = "URL", env = "BSFT_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Keeps environments apart that share RabbitMQ and Redis
    #[arg(long, value_name = "NAME", env = "BSFT_NAMESPACE", default_value = "default")]
    pub namespace: String,
}

/// How a process tells of itself.
#[derive(Clone, Debug, Args)]
pub struct LogFlags {
    /// How lines on stderr are written: human, json, or auto: json where stderr is no terminal, of what runs as a service
    #[arg(
        long,
        global = true,
        hide_possible_values = true,
        value_name = "FORMAT",
        env = "BSFT_LOG_FORMAT",
        default_value = "auto"
    )]
    pub log_format: LogFormatName,
}

/// A format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormatName {
    /// On a terminal human, elsewhere json; what only answers a person stays human
    // An empty variable is as good as none.
    #[value(alias = "")]
    Auto,
    /// Lines for people
    Human,
    /// A JSON object on each line
    Json,
}

impl LogFlags {
    fn chosen(&self) -> Option<LogFormat> {
        match self.log_format {
            LogFormatName::Auto => None,
            LogFormatName::Human => Some(LogFormat::Human),
            LogFormatName::Json => Some(LogFormat::Json),
        }
    }

    /// Of a process whose lines a collector may read.
    pub(super) fn format_of_a_service(&self) -> LogFormat {
        self.chosen()
            .unwrap_or_else(|| match std::io::stderr().is_terminal() {
                true => LogFormat::Human,
                false => LogFormat::Json,
            })
    }
}

/// Executes tasks: runs teachers on examples, and fine-tune jobs. Any number of them, on any machines.
#[derive(Debug, Parser)]
#[command(name = "bsft-worker", version, max_term_width = 100)]
pub struct WorkerCommand {
    /// The flags of the worker
    #[command(flatten)]
    pub worker: WorkerArgs,
    /// How it tells of itself
    #[command(flatten)]
    pub log: LogFlags,
}

/// Cli of `worker`.
#[derive(Clone, Debug, Args)]
pub struct WorkerArgs {
    /// The tasks that it takes
    #[arg(
        long,
        value_name = "LANES",
        value_delimiter = ',',
        default_value = "bootstrap,finetune"
    )]
    pub lanes: Vec<QueueName>,
    /// LM calls in flight at once
    #[arg(long, value_name = "N", default_value = "64")]
    pub concurrency: NonZeroUsize,
    /// How long what is in flight may take after SIGTERM or Ctrl-C; then it is handed back
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub drain: u64,
    /// A file that maps the names of trainers to commands, for fine-tune jobs of the provider `command`
    #[arg(long, value_name = "FILE")]
    pub trainers: Option<PathBuf>,
    /// RabbitMQ and Redis
    #[command(flatten)]
    pub services: ServiceFlags,
    /// Metrics and health
    #[command(flatten)]
    pub monitor: MonitorFlags,
}

/// A lane that workers take tasks from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QueueName {
    /// Run a teacher on an example
    Bootstrap,
    /// Fine-tune an LM
    Finetune,
}
