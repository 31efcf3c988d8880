//! What can be asked of `bsft-coordinator`.

use clap::{Args, Parser, Subcommand};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Compiles DSPy students: runs a teacher over a trainset, fine-tunes the student's LMs on the traces that a metric keeps, and
/// gives back the student with its new models.
#[derive(Debug, Parser)]
#[command(name = "bsft-coordinator", version, max_term_width = 100)]
pub struct Flags {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
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
    /// Show how far a run is
    Status {
        /// The run's folder; default: every run in ./runs
        run: Option<PathBuf>,
        /// Machine-readable, on stdout
        #[arg(long)]
        json: bool,
    },
    /// Run the failed examples of a run again
    Retry(RetryFlags),
    /// Write a small example that compiles as it stands
    Init {
        /// Where to
        dir: PathBuf,
    },
}

/// Flags of `compile`.
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

/// Flags of `retry`.
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
    /// Workers inside this process [default: 1]
    #[arg(long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,
    /// LM calls that each worker has in flight at once
    #[arg(long, value_name = "N", default_value = "64")]
    pub concurrency: NonZeroUsize,
    /// RabbitMQ; needs --redis-url too
    #[arg(long, value_name = "URL", env = "BSFT_AMQP_URL", hide_env_values = true)]
    pub amqp_url: Option<String>,
    /// Redis; needs --amqp-url too
    #[arg(long, value_name = "URL", env = "BSFT_REDIS_URL", hide_env_values = true)]
    pub redis_url: Option<String>,
}
