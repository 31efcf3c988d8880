//! How trainings end, and how their results are uploaded and served.

use super::*;

/// Answers each request with the next of `answers`; returns its address and the requests.
async fn server(answers: Vec<(u16, &'static str)>) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let requests = Arc::clone(&asked);
    tokio::spawn(async move {
        for (status, text) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            loop {
                let text = String::from_utf8_lossy(&request).into_owned();
                let wanted = text
                    .to_lowercase()
                    .split_once("content-length: ")
                    .map_or(0, |(_, rest)| {
                        rest.lines().next().unwrap().trim().parse().unwrap()
                    });
                if text
                    .split_once("\r\n\r\n")
                    .is_some_and(|(_, body)| body.len() >= wanted)
                {
                    requests.lock().unwrap().push(text);
                    break;
                }
                stream.read_buf(&mut request).await.unwrap();
            }
            let length = text.len();
            let answer =
                format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    (address, asked)
}

#[tokio::test]
async fn trainer_that_leaves_a_model_succeeds() {
    let place = TrainerFixture::new("defaults = { lr = 1e-7 }").train("lr", 0.5);
    let provider = place.provider();
    let id = place.start(&*provider).await;
    assert_eq!(provider.deterministic_id(&place.order()), Some(id.clone()));
    assert_eq!(provider.find(&place.order()).await.unwrap(), Some(id.clone()));
    assert_eq!(
        place.written("arguments").lines().skip(1).collect::<Vec<_>>(),
        ["base/model", "--lr", "0.5"]
    );
    let row = fs::read_to_string(place.work().join("train/train.jsonl")).unwrap();
    assert!(row.starts_with(r#"{"prompt":[{"role":"user""#), "{row}");
    place.command(&format!("echo \"{{'loss': '0.25', 'epoch': '1'}}\"; {SUCCEED}"));
    let trained = success(place.outcome(&*provider).await);
    let output = place.work().join("output");
    assert_eq!(trained.model, Some(format!("openai/{}", output.display())));
    assert_eq!(trained.loss, Some(0.25));
    assert_eq!(
        fs::read_to_string(output.join("model.safetensors")).unwrap(),
        "weights\n"
    );
    let manifest: Json =
        serde_json::from_slice(&fs::read(place.work().join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest[0]["sha256"], hex(&Sha256::digest("weights\n")));
    assert_eq!(unfinished(&place.dir()).len(), 1);
    provider.cleanup(&id, &place.order()).await.unwrap();
    assert!(!place.work().join("train").exists() && output.exists());
    assert_eq!(unfinished(&place.dir()), []);
    assert_eq!(place.starts(), 1);
}

#[tokio::test]
async fn failure_has_the_last_output_and_the_meaning_of_the_exit_code() {
    for (order, parts) in [
        (
            "echo 'no such model' >&2; exit 1",
            ["exit code 1", "no such model"],
        ),
        ("echo 'on stdout'; exit 127", ["not found", "on stdout"]),
        ("kill -9 $$", ["137", "memory"]),
    ] {
        let place = TrainerFixture::new("");
        let provider = place.provider();
        place.start(&*provider).await;
        place.command(order);
        let why = failure(place.outcome(&*provider).await);
        assert!(parts.iter().all(|part| why.contains(part)), "{why}");
        assert!(why.contains(&place.work().display().to_string()), "{why}");
        assert_eq!(provider.find(&place.order()).await.unwrap(), None);
        assert_eq!(place.starts(), 1);
    }
}

#[tokio::test]
async fn exit_code_0_without_a_finished_model_is_a_failure() {
    for (entry, order, part) in [
        ("", "exit 0", "left none of model.safetensors"),
        (
            "",
            ": > \"$FT_OUTPUT_DIR/model.safetensors\"; exit 0",
            "left none of",
        ),
        (
            "",
            "echo nonsense > \"$FT_RESULT_FILE\"; echo w > \"$FT_OUTPUT_DIR/model.safetensors\"; exit 0",
            "cannot be read",
        ),
        ("result = { any_of = [] }", "exit 0", "named no model"),
        (
            "defaults = { n_epochs = 2000 }",
            "echo \"{'loss': '0.1', 'epoch': '1.5'}\"; echo w > \"$FT_OUTPUT_DIR/model.safetensors\"; exit 0",
            "at epoch 1.5 of 2000",
        ),
    ] {
        let place = TrainerFixture::new(entry);
        let provider = place.provider();
        place.start(&*provider).await;
        place.command(order);
        let why = failure(place.outcome(&*provider).await);
        assert!(why.contains(part), "{part}: {why}");
    }
}

#[tokio::test]
async fn progress_is_read_while_the_trainer_runs() {
    let place = TrainerFixture::new("defaults = { n_epochs = 4 }\nkeys = ['n_epochs']");
    let provider = place.provider();
    let id = place.start(&*provider).await;
    place.command("printf '{\"step\": 3, \"loss\": 0.5, \"message\": \"warm\"}\\n' >> \"$FT_PROGRESS_FILE\"; echo \"{'epoch': '1'}\"");
    loop {
        if let TrainingState::Running(progress) = provider.poll(&id, &place.order()).await.unwrap()
            && progress.step.is_some()
            && progress.epoch.is_some()
        {
            assert_eq!(
                (progress.step, progress.loss, progress.percent),
                (Some(3), Some(0.5), Some(25.0))
            );
            assert_eq!(progress.message.as_deref(), Some("warm"));
            return;
        }
        pause().await;
    }
}

#[tokio::test]
async fn upload_names_the_model_and_its_failure_fails_the_training() {
    let upload = "upload = ['sh', '-c', 'echo up >> \"$FT_WORK_DIR/uploads\"; echo \"s3://bucket/$1\"', 'up', '{name}']";
    let place = TrainerFixture::new(&format!("{upload}\nmodel = 'openai/{{artefact}}'"));
    let provider = place.provider();
    place.start(&*provider).await;
    place.command(&format!(
        "echo '{{\"trained_tokens\": 42}}' > \"$FT_RESULT_FILE\"; {SUCCEED}"
    ));
    let trained = success(place.outcome(&*provider).await);
    assert_eq!(
        trained.model.as_deref(),
        Some("openai/s3://bucket/job-student-00112233")
    );
    assert_eq!(trained.tokens, Some(42));
    assert_eq!(fs::read_to_string(place.work().join("uploads")).unwrap(), "up\n");
    let bad = TrainerFixture::new("upload = ['sh', '-c', 'echo disk full >&2; exit 2']");
    let provider = bad.provider();
    bad.start(&*provider).await;
    bad.command(SUCCEED);
    let why = failure(bad.outcome(&*provider).await);
    assert!(
        why.contains("the model was trained and is in") && why.contains("disk full"),
        "{why}"
    );
}

#[tokio::test]
async fn serve_posts_the_model_and_waits_for_ready_url() {
    let (address, asked) = server(vec![(200, ""), (503, ""), (200, "ok")]).await;
    let place = TrainerFixture::new(&format!(
        "model = 'openai/{{name}}'\nserve = {{ post = '{address}/v1/load_lora_adapter', ready_url = '{address}/ready', \
         body = {{ lora_name = '{{name}}', lora_path = '{{output_dir}}', n = 1 }}, api_base = '{address}/v1' }}"
    ));
    let provider = place.provider();
    place.start(&*provider).await;
    place.command(SUCCEED);
    let trained = success(place.outcome(&*provider).await);
    assert_eq!(trained.model.as_deref(), Some("openai/job-student-00112233"));
    assert_eq!(trained.api_base, Some(format!("{address}/v1")));
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 3);
    let body: Json = serde_json::from_str(asked[0].split_once("\r\n\r\n").unwrap().1).unwrap();
    let output = place.work().join("output").display().to_string();
    assert_eq!(
        body,
        json!({"lora_name": "job-student-00112233", "lora_path": output, "n": 1})
    );
}

#[tokio::test]
async fn serve_accepts_a_loaded_model_and_fails_on_a_refusal() {
    for (answer, part) in [
        ((400, "adapter has already been loaded"), None),
        ((404, "no such path"), Some("no such path")),
    ] {
        let (address, _) = server(vec![answer]).await;
        let place = TrainerFixture::new(&format!("serve = {{ post = '{address}/load' }}"));
        let provider = place.provider();
        place.start(&*provider).await;
        place.command(SUCCEED);
        match part {
            None => drop(success(place.outcome(&*provider).await)),
            Some(part) => assert!(failure(place.outcome(&*provider).await).contains(part)),
        }
    }
}

#[tokio::test]
async fn ended_trainer_is_reaped() {
    let place = TrainerFixture::new("");
    let provider = place.provider();
    place.start(&*provider).await;
    let pid = place.pid();
    place.command(SUCCEED);
    success(place.outcome(&*provider).await);
    until(|| !Path::new(&format!("/proc/{pid}")).exists()).await;
}

#[tokio::test]
async fn serve_command_outlives_the_training() {
    let (address, _) = server(vec![(503, ""), (200, "ok")]).await;
    let entry = "serve = { argv = ['sh', '-c', 'echo \"$1\" > \"$0\"; while :; do sleep 0.02; done', 'FILE', '{output_dir}'], ready_url = 'URL' }";
    let mut place = TrainerFixture::new("");
    let file = place.control("served").display().to_string();
    place.entry(&entry.replace("FILE", &file).replace("URL", &address));
    let provider = place.provider();
    place.start(&*provider).await;
    place.command(SUCCEED);
    success(place.outcome(&*provider).await);
    until(|| !place.written("served").is_empty()).await;
    let output = place.work().join("output").display().to_string();
    assert_eq!(place.written("served").trim(), output);
    let noted: Json = serde_json::from_slice(&fs::read(place.work().join("serve.json")).unwrap()).unwrap();
    let pid = i32::try_from(noted["pid"].as_i64().unwrap()).unwrap();
    assert_eq!(procfs::start_ticks(pid), noted["start_ticks"].as_u64());
    procfs::signal_group(pid, rustix::process::Signal::KILL);
}

#[tokio::test]
async fn failed_serve_command_fails_the_training_and_names_the_model() {
    let place = TrainerFixture::new("serve = { argv = ['sh', '-c', 'exit 3'] }");
    let provider = place.provider();
    place.start(&*provider).await;
    place.command(SUCCEED);
    let why = failure(place.outcome(&*provider).await);
    let output = place.work().join("output").display().to_string();
    assert!(why.contains(&output) && why.contains("serve.log"), "{why}");
}

#[tokio::test]
async fn failure_redacts_values_of_env() {
    let place = TrainerFixture::new("env = { GIVEN = 'written-in-the-file' }");
    let provider = place.provider();
    place.start(&*provider).await;
    place.command("echo \"bad key $GIVEN\" >&2; exit 1");
    let why = failure(place.outcome(&*provider).await);
    assert!(why.contains("bad key [GIVEN]"), "{why}");
}

#[tokio::test]
async fn failure_redacts_values_of_pass_env() {
    let secret = std::env::var("CARGO_PKG_DESCRIPTION").unwrap();
    let place = TrainerFixture::new("pass_env = ['CARGO_PKG_DESCRIPTION']");
    let provider = place.provider();
    place.start(&*provider).await;
    place.command("echo \"bad key $CARGO_PKG_DESCRIPTION\" >&2; exit 1");
    let why = failure(place.outcome(&*provider).await);
    assert!(
        why.contains("bad key [CARGO_PKG_DESCRIPTION]") && !why.contains(&secret),
        "{why}"
    );
}
