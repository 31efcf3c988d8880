//! The same on workers of a cluster: outages.

use super::outage::away;
use super::scene::workers;
use super::{CALLS, Scene};
use crate::cli::cluster::Cluster;
use bsft_limited_lm::OutageKind;

const WORKERS: usize = 2;

#[test]
fn outage_makes_no_example_fail_on_workers() {
    let Some(cluster) = Cluster::start() else { return };
    let scene = Scene::new(away(OutageKind::Reset, CALLS / 4));
    let _workers = workers(&cluster, WORKERS, "first");
    scene.compile_on(&cluster).with(0);
    let counts = scene.assert_complete();
    // Sixteen in flight and about ten probes of each.
    assert!(counts.resets <= WORKERS as u64 * (16 + 20), "{counts:?}");
}
