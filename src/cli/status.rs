//! `status [RUN]`: the progress of runs, from their manifests, and the connected workers.

use super::exit::Exit;
use super::flags::StatusFlags;
use super::run_name::{self, FoundRun, RUNS};
use super::runtime::block_on;
use super::service_urls::Services;
use super::ui;
use crate::broker::{Broker as _, BrokerError, Queue};
use crate::coordination::Coordination as _;
use crate::report::{Depths, Manifest, RunStatus};
use crate::store::StoreError;
use crate::store::redis::RedisStore;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a healthy broker takes to accept a connection and to count its messages.
const BROKER_WITHIN: Duration = Duration::from_secs(5);

/// `status [RUN]`.
pub(super) fn status(flags: &StatusFlags) -> Exit {
    let services = match Services::from_flags(&flags.services) {
        Ok(services) => services,
        Err(exit) => return exit,
    };
    let found = match (&services, flags.run.as_deref()) {
        (Some(services), run) => in_cluster(services, run),
        (None, run) => in_folders(run),
    };
    let standings = match found {
        Ok(standings) => standings,
        Err(exit) => return exit,
    };
    if flags.json {
        ui::stdout(serde_json::to_string_pretty(&standings).expect("manifests are plain data"));
        return Exit::Done;
    }
    if standings.is_empty() {
        ui::info("no runs");
    }
    for standing in &standings {
        ui::stdout(standing);
    }
    // Every run of a namespace has the same queues.
    if let Some(depths) = standings.first().and_then(|standing| standing.queues.as_ref()) {
        ui::stdout(depths);
    }
    Exit::Done
}

fn in_folders(run: Option<&Path>) -> Result<Vec<RunStatus>, Exit> {
    let Some(run) = run else {
        let mut standings = Vec::new();
        for folder in runs() {
            standings.extend(run_name::in_folder(folder)?.map(of_folder));
        }
        return Ok(standings);
    };
    let found = run_name::in_folders(run)?;
    found
        .map(|found| vec![of_folder(found)])
        .ok_or_else(|| run_name::no_folder(run))
}

fn of_folder(found: FoundRun) -> RunStatus {
    RunStatus::new(found.dir.display().to_string(), found.manifest)
}

/// The directories in `./runs`, sorted by name.
fn runs() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(RUNS) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    folders
}

fn in_cluster(services: &Services, run: Option<&Path>) -> Result<Vec<RunStatus>, Exit> {
    block_on(async {
        let depths = tokio::time::timeout(BROKER_WITHIN, depths(services));
        let (store, depths) = tokio::join!(services.store(), depths);
        let queues = match depths {
            Ok(Ok(depths)) => Some(depths),
            Ok(Err(error)) => {
                ui::warn(format_args!("the queues are unknown: {error}"));
                None
            }
            Err(_) => {
                let secs = BROKER_WITHIN.as_secs();
                ui::warn(format_args!(
                    "the queues are unknown: RabbitMQ did not answer within {secs} s"
                ));
                None
            }
        };
        let store = store?;
        let Some(run) = run else {
            return cluster_status(&store, queues, None).await;
        };
        let in_folder = run_name::in_folders(run)?;
        let wanted = match &in_folder {
            Some(found) => found.manifest.run.0.clone(),
            None => run.display().to_string(),
        };
        let standings = cluster_status(&store, queues, Some(&wanted)).await?;
        match in_folder {
            _ if !standings.is_empty() => Ok(standings),
            // Its report in Redis expired, or there never was one.
            Some(found) => Ok(vec![of_folder(found)]),
            None => {
                ui::error(format_args!(
                    "no run {wanted} in namespace {}; status without a run lists all of them",
                    services.namespace()
                ));
                Err(Exit::Usage)
            }
        }
    })?
}

async fn depths(services: &Services) -> Result<Depths, BrokerError> {
    let broker = services.broker().await?;
    let depths = async {
        Ok(Depths {
            bootstrap: broker.depth(&Queue::Bootstrap).await?,
            finetune: broker.depth(&Queue::Finetune).await?,
            dead_bootstrap: broker.dead_letter_count(&Queue::Bootstrap).await?,
            dead_finetune: broker.dead_letter_count(&Queue::Finetune).await?,
        })
    };
    let depths = depths.await;
    broker.close().await;
    depths
}

async fn cluster_status(
    store: &RedisStore,
    queues: Option<Depths>,
    wanted: Option<&str>,
) -> Result<Vec<RunStatus>, Exit> {
    query(store, queues, wanted).await.map_err(|error| {
        ui::error(error);
        Exit::Unavailable
    })
}

async fn query(
    store: &RedisStore,
    queues: Option<Depths>,
    wanted: Option<&str>,
) -> Result<Vec<RunStatus>, StoreError> {
    let mut standings = Vec::new();
    let reports = store.reports().await?;
    let named = wanted.map(|wanted| run_name::in_reports(wanted, &reports));
    for (run, report) in reports {
        if named.as_ref().is_some_and(|named| !named.contains(&run)) {
            continue;
        }
        // A report of another version has other fields; the status command of that version reads it.
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&report) else {
            continue;
        };
        let mut standing = RunStatus::new(run.0.clone(), manifest);
        standing.workers = Some(store.workers(&run).await?);
        standing.cancelled = store.is_cancelled(&run).await?;
        standing.queues = queues;
        standings.push(standing);
    }
    Ok(standings)
}
