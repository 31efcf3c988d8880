use super::keys_file::parse;
use super::*;

fn read(text: &str) -> KeyRing {
    parse(text, Path::new("keys.toml")).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

/// The refusal of a key; no test sets a variable, because another reads them at the same time.
#[track_caller]
fn refusal(ring: &KeyRing, name: &str, address: &str, header: Option<&str>) -> String {
    match ring.key(name, address, header) {
        Err(KeyError::NotAllowed(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Whether the ring allows the key; `PATH` is always set, any other variable may be unset.
fn is_allowed(ring: &KeyRing, name: &str, address: &str, header: Option<&str>) -> bool {
    !matches!(ring.key(name, address, header), Err(KeyError::NotAllowed(_)))
}

#[test]
fn worker_without_a_file_sends_well_known_keys_to_their_own_service_only() {
    let ring = KeyRing::well_known();
    for (name, address) in [
        ("OPENAI_API_KEY", "https://api.openai.com/v1"),
        ("OPENAI_API_KEY", "https://API.openai.com:443/v1/"),
        ("TOGETHER_API_KEY", "https://api.together.ai/v1"),
        ("FIREWORKS_API_KEY", "https://api.fireworks.ai/inference/v1"),
    ] {
        assert!(is_allowed(&ring, name, address, None), "{name} {address}");
        assert!(
            is_allowed(&ring, name, address, Some("API-KEY")),
            "{name} {address}"
        );
    }
    for address in [
        "http://api.openai.com/v1",
        "https://api.openai.com:8443/v1",
        "https://api.openai.com.evil.example/v1",
        "https://evil.example/api.openai.com/v1",
        "https://api.openai.com@evil.example/v1",
        "http://127.0.0.1:8000/v1",
        "api.openai.com",
        "",
    ] {
        let why = refusal(&ring, "OPENAI_API_KEY", address, None);
        assert!(why.contains("--keys FILE"), "{address}: {why}");
    }
    let why = refusal(&ring, "OPENAI_API_KEY", "https://api.openai.com/v1", Some("Host"));
    assert!(why.contains("`host`"), "{why}");
}

#[test]
fn refusal_names_the_lines_that_allow_the_key() {
    let why = refusal(
        &KeyRing::well_known(),
        "VLLM_KEY",
        "https://vllm.example:8000/v1",
        None,
    );
    assert!(
        why.contains("[key.VLLM_KEY] with to = [\"https://vllm.example:8000\"]"),
        "{why}"
    );
    let ring = read("[key.VLLM_KEY]\nto = ['https://vllm.example:8000']");
    let why = refusal(&ring, "VLLM_KEY", "https://vllm.example/v1", None);
    assert!(
        why.contains("add \"https://vllm.example\" to key.VLLM_KEY.to"),
        "{why}"
    );
    let why = refusal(&ring, "OTHER_KEY", "https://vllm.example:8000/v1", None);
    assert!(why.contains("keys.toml has no key OTHER_KEY"), "{why}");
}

#[test]
fn variables_that_are_no_api_keys_are_never_sent_by_a_worker() {
    for name in [
        "BSFT_AMQP_URL",
        "BSFT_REDIS_URL",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "PATH",
        "HOME",
        "LD_PRELOAD",
    ] {
        let why = refusal(&KeyRing::well_known(), name, "https://h/v1", None);
        assert!(why.contains("never sent"), "{name}: {why}");
        for text in [
            format!("[key.{name}]\nto = ['https://h']"),
            format!("[key.MINE]\nvariable = '{name}'\nto = ['https://h']"),
        ] {
            let problems = parse(&text, Path::new("keys.toml")).unwrap_err().to_string();
            assert!(problems.contains("never sent"), "{text}: {problems}");
        }
    }
    read("[key.AWS_BEARER_TOKEN_BEDROCK]\nto = ['https://bedrock-runtime.us-east-1.amazonaws.com']");
}

#[test]
fn process_of_the_author_sends_any_variable_anywhere() {
    let granted = KeyRing::of_the_author()
        .key("PATH", "http://h/v1", Some("X-Mine"))
        .unwrap();
    assert_eq!(granted.header.as_deref(), Some("x-mine"));
    let unset = KeyRing::of_the_author().key("BSFT_TEST_NO_SUCH_VARIABLE", "http://h/v1", None);
    assert!(matches!(unset, Err(KeyError::Unset { .. })), "{unset:?}");
}

#[test]
fn worker_calls_no_link_local_address_unless_its_file_lists_it() {
    let address = "http://169.254.169.254/v1";
    let ring = KeyRing::well_known();
    let Err(KeyError::NotAllowed(why)) = ring.access(None, address, None) else {
        panic!("{address} is allowed");
    };
    assert!(why.contains("link-local"), "{why}");
    let access = ring.access(None, "http://127.0.0.1:8000/v1", None).unwrap();
    assert_eq!(access.reach, Reach::NotLinkLocal);
    let listed = read("[key.A]\nto = ['http://169.254.169.254']");
    assert_eq!(listed.access(None, address, None).unwrap().reach, Reach::Anywhere);
    let author = KeyRing::of_the_author();
    assert_eq!(author.access(None, address, None).unwrap().reach, Reach::Anywhere);
}

#[test]
fn file_maps_a_name_to_a_variable_and_decides_the_header() {
    let text = "[key.A]\nvariable = 'NO_SUCH_VARIABLE_OF_TESTS'\nto = ['http://127.0.0.1:8000']\nheader = 'Api-Key'\n\
                [key.OPENAI_API_KEY]";
    let ring = read(text);
    assert_eq!(ring.names(), Some(vec!["A", "OPENAI_API_KEY"]));
    match ring.key("A", "http://127.0.0.1:8000/v1", None) {
        Err(KeyError::Unset { variable, .. }) => assert_eq!(variable, "NO_SUCH_VARIABLE_OF_TESTS"),
        other => panic!("{other:?}"),
    }
    assert!(is_allowed(
        &ring,
        "A",
        "http://127.0.0.1:8000/v1",
        Some("api-key")
    ));
    let why = refusal(&ring, "A", "http://127.0.0.1:8000/v1", Some("x-api-key"));
    assert!(why.contains("key.A.header = \"x-api-key\""), "{why}");
    assert!(is_allowed(
        &ring,
        "OPENAI_API_KEY",
        "https://api.openai.com/v1",
        None
    ));
    let rule = |header: Option<&str>| KeyRule {
        variable: String::new(),
        to: Vec::new(),
        header: header.map(str::to_owned),
    };
    let request = KeyRequest {
        name: "A",
        to: "https://h",
        file: None,
    };
    let header =
        |rule: &KeyRule, of_job: Option<&str>| allowed_header(rule, of_job.map(str::to_owned), &request).ok();
    assert_eq!(header(&rule(None), None), Some(None));
    assert_eq!(
        header(&rule(Some("api-key")), None),
        Some(Some("api-key".to_owned()))
    );
    assert_eq!(header(&rule(None), Some("cookie")), None);
}

#[test]
fn keys_file_reports_all_problems_at_once() {
    let text = "[key.A]\n\
                [key.B]\nto = ['vllm.example', 'https://user@h', 'https://h/v1']\nheader = 'host'\n\
                [key.C]\nvariable = 'sk-0123456789'\nto = ['https://h']\ncolour = 1\n\
                [key.'a b']\nto = ['https://h']\n\
                [key.D]\nvariable = 'hf_0123456789'\nto = ['https://h']\n\
                [keys.E]\n";
    let problems = parse(text, Path::new("keys.toml")).unwrap_err().to_string();
    for part in [
        "keys.toml:1: [key.A] does not list the servers",
        "keys.toml:3: `key.B.to` has `vllm.example`, which is not the origin of a server",
        "keys.toml:3: `key.B.to` has `https://h` with more than an origin",
        "keys.toml:4: `key.B.header` is a header with another meaning",
        "keys.toml:6: [key.C]: `variable` is not the name of an environment variable",
        "keys.toml:8: unknown key `colour`",
        "is not a name that a job can use",
        "unknown key `keys`\n  = help: did you mean `key`?",
    ] {
        assert!(problems.contains(part), "{part}\n{problems}");
    }
    assert!(
        problems.contains("[key.D]: `variable` is not the name"),
        "{problems}"
    );
    assert!(!problems.contains("0123456789"), "{problems}");
}

#[test]
fn origins_without_encryption_are_listed_unless_they_are_on_this_machine() {
    let ring = read(
        "[key.A]\nto = ['http://vllm.example:8000', 'https://h', 'http://localhost:1', 'http://127.0.0.1', 'http://[::1]:9']",
    );
    assert_eq!(ring.unencrypted(), ["[key.A]: http://vllm.example:8000"]);
    assert_eq!(KeyRing::of_the_author().unencrypted(), Vec::<String>::new());
}
