//! Tests of addresses that are probably not meant, and of Azure's older ones.

use super::{dir, good, read_text};

const ADDRESS: &str = "http://127.0.0.1:8000/v1";

#[test]
fn read_warns_of_an_api_base_that_is_probably_not_meant() {
    let azure = "https://mine.openai.azure.com";
    let dir = dir();
    for (address, words) in [
        ("http://127.0.0.1:8000/v1".to_owned(), None),
        ("http://127.0.0.1:8000/v1/".to_owned(), None),
        ("https://models.example/completions/v1".to_owned(), None),
        (
            "http://localhost/v1/chat/completions".to_owned(),
            Some("write `http://localhost/v1`"),
        ),
        (
            "http://localhost/v1/chat/completions/".to_owned(),
            Some("write `http://localhost/v1`"),
        ),
        (
            "http://localhost/v1/completions".to_owned(),
            Some("write `http://localhost/v1`"),
        ),
        (
            "http://localhost/responses".to_owned(),
            Some("write `http://localhost`"),
        ),
        (format!("{azure}/openai/v1"), None),
        (format!("{azure}/openai/v1/"), None),
        (
            azure.to_owned(),
            Some("`api_base = \"https://mine.openai.azure.com/openai/v1\"`"),
        ),
        (
            format!("{azure}/openai/deployments/gpt/chat/completions"),
            Some("`model = \"openai/gpt\"`"),
        ),
    ] {
        let text = good().replace(ADDRESS, &address);
        let job = read_text(dir.path(), "job.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let warnings: Vec<&String> = job
            .warnings
            .iter()
            .filter(|warning| warning.contains(&address))
            .collect();
        match words {
            None => assert!(warnings.is_empty(), "{warnings:?}"),
            Some(words) => assert!(
                warnings.len() == 1 && warnings[0].contains(words),
                "{address}: {warnings:?}"
            ),
        }
    }
}

#[test]
fn read_refuses_an_address_with_api_version_and_names_azures_other_one() {
    let dir = dir();
    for (address, words) in [
        (
            "https://mine.openai.azure.com/openai/deployments/gpt?api-version=2024-06-01",
            "`api_base = \"https://mine.openai.azure.com/openai/v1\"`, with `model = \"openai/gpt\"`",
        ),
        (
            "https://gateway.example/azure?api-version=2024-06-01",
            "`api_base = \"https://NAME.openai.azure.com/openai/v1\"`",
        ),
        ("http://127.0.0.1:8000/v1?key=1", "write an address such as"),
    ] {
        let problems = read_text(dir.path(), "job.toml", &good().replace(ADDRESS, address));
        let problems = problems.expect_err("a problem").to_string();
        assert!(problems.contains("has a `?` or `#` part"), "{problems}");
        assert!(problems.contains(words), "{address}: {problems}");
    }
}
