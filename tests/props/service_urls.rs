//! Slips in the URLs of services: wherever they put the password, no message contains it.

use crate::config;
use bsft::broker::rabbitmq::RabbitMqBroker;
use bsft::job;
use bsft::store::redis::RedisStore;
use proptest::prelude::*;
use proptest::sample::select;

/// Lower case, because a parser may change the case.
const PASSWORD: &str = "hunter2geheim";

/// A URL with the password in it, more often broken than not.
fn slip(schemes: &'static [&'static str]) -> impl Strategy<Value = String> {
    let special = || {
        select(
            &[
                "", "", "@", ":", "/", "#", "?", "%", "12/", "12#", "12?", "x@y/", " ", "\t", "\\", "[",
                "%zz", "&",
            ][..],
        )
    };
    let separators = select(&["://", "://", "://", ":/", ":", "//", "/", ""][..]);
    let users = select(&["", "me", "me", "me%3A", "7"][..]);
    let hosts = select(
        &[
            "127.0.0.1:1",
            "127.0.0.1:1",
            "host",
            "[::1]",
            "",
            "host:x",
            "host:77",
        ][..],
    );
    let tails = select(
        &[
            "",
            "",
            "/",
            "/3",
            "/v",
            "/%2f",
            "?heartbeat=3",
            "?auth_mechanism=x",
            "#insecure",
        ][..],
    );
    // `S`: scheme, `U`: user, `P`: password, `H`: host, `T`: what follows.
    let forms = select(
        &[
            "SU:P@HT",
            "SU:P@HT",
            "S:P@HT",
            "SP@HT",
            "SUP@HT",
            "SU:PHT",
            "SU:P@H@HT",
            "SH/:PT",
            "SH?PT",
            "SH?password=PT",
            "SH?auth_mechanism=P",
            "SH?protocol=P",
            "SH#PT",
            "SU:P@T",
            "SU:x@H/P@HT",
            "SU@P@HT",
            "SU;P@HT",
        ][..],
    );
    let parts = (
        select(schemes),
        separators,
        users,
        (special(), special()),
        hosts,
        tails,
        forms,
    );
    parts.prop_map(|(scheme, separator, user, (before, after), host, tail, form)| {
        let mut url = String::new();
        // Then the password would be the host, which messages need.
        let before = if form == "SU:PHT" {
            before.replace('@', "")
        } else {
            before.to_owned()
        };
        for part in form.chars() {
            match part {
                'S' => url.extend([scheme, separator]),
                'U' => url.push_str(user),
                'P' => url.extend([before.as_str(), PASSWORD, after]),
                'H' => url.push_str(host),
                'T' => url.push_str(tail),
                other => url.push(other),
            }
        }
        url
    })
}

/// Whether the text shows the password, in any case.
fn leaks(text: &str) -> bool {
    text.to_lowercase().contains(PASSWORD)
}

fn many() -> ProptestConfig {
    ProptestConfig {
        cases: 5_000,
        ..config()
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn check_of_an_amqp_url_never_shows_the_password(url in slip(&["amqp", "amqps", "http", "redis", ""])) {
        let shown = match RabbitMqBroker::check(&url, "default") {
            Ok(usable) => format!("{usable:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!leaks(&shown), "{url} as {shown}");
    }

    #[test]
    fn check_of_a_redis_url_never_shows_the_password(url in slip(&["redis", "rediss", "http", "valkey", "redis+unix", ""])) {
        let shown = match RedisStore::check(&url, "bsft:default") {
            Ok(usable) => format!("{usable:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!leaks(&shown), "{url} as {shown}");
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn problems_of_an_api_base_never_show_the_password(url in slip(&["http", "https", "ftp", ""])) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.toml");
        std::fs::write(folder.path().join("train.jsonl"), "{\"text\": \"a\", \"label\": \"b\"}\n").unwrap();
        let quoted = serde_json::to_string(&url).unwrap();
        std::fs::write(
            &path,
            format!(
                "[data]\ntrainset = \"train.jsonl\"\ninputs = [\"text\"]\n[[program.predictors]]\nname = \"p\"\nmodule = \"Predict\"\n\
                 signature = \"text -> label\"\n[lm.a]\nmodel = \"openai/m\"\napi_base = {quoted}\n[lm.a.finetune]\n\
                 provider = \"openai\"\napi_base = {quoted}\n[student]\nlm = \"a\"\n"
            ),
        )
        .unwrap();
        if let Err(problems) = job::read(&path) {
            let shown = problems.to_string();
            prop_assert!(!leaks(&shown), "{url} as {shown}");
        }
    }
}
