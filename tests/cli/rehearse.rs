//! `--rehearse`: the same job, offline and free.

use crate::support::{Folder, JobFile, LmServer, same};

const REHEARSE: [&str; 5] = ["compile", "job.toml", "--rehearse", "--out", "run"];

#[test]
fn rehearse_needs_no_server_or_key_and_is_deterministic() {
    let folders = [Folder::new(), Folder::new()];
    for folder in &folders {
        let mut job = JobFile::at("https://127.0.0.1:1/v1");
        job.teacher
            .push_str("\napi_key_env = \"BSFT_TEST_NO_SUCH_VARIABLE\"");
        job.write(folder, 100);
        folder.run(&REHEARSE).with(0);
    }
    let [first, second] = folders.each_ref().map(|folder| folder.result("run"));
    same(&first, &second);
    assert!(!first["data/student.jsonl"].is_empty());
    // Once more on what is there.
    folders[0].run(&REHEARSE).with(0);
    same(&folders[0].result("run"), &second);
}

#[test]
fn rehearse_does_not_touch_a_real_run() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, 20);
    folder.compile("run").with(0);
    let before = folder.files();
    folder.run(&REHEARSE).with(2).saying("--out");
    assert_eq!(without_store(folder.files()), without_store(before));
}

#[test]
fn compile_does_not_reuse_a_rehearsal() {
    let server = LmServer::start("mild");
    let (folder, reference) = (Folder::new(), Folder::new());
    for folder in [&folder, &reference] {
        JobFile::at(&server.base()).write(folder, 20);
    }
    folder.run(&REHEARSE).with(0);
    folder.compile("run").with(0);
    reference.compile("run").with(0);
    same(&folder.result("run"), &reference.result("run"));
}

/// The store's own file is opened and may note that it was.
fn without_store(
    mut files: std::collections::BTreeMap<String, Vec<u8>>,
) -> std::collections::BTreeMap<String, Vec<u8>> {
    files.retain(|name, _| !name.contains("state."));
    files
}
