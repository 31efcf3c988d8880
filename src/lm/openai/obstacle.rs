//! Responses that are not about the request: a redirect, a proxy or a port with TLS stands before the server.

use crate::http::Route;
use reqwest::Url;

/// The path of the requests below `api_base`.
pub(super) const PATH: &str = "/chat/completions";

/// Parts of a 400 by which servers report that a plain request came to a port with TLS.
const PLAIN_TO_TLS: [&str; 3] = [
    "plain http request was sent to https port",
    "http request to an https server",
    "speaking plain http to an ssl-enabled server port",
];

/// What stands in the way and what to do. `None` if the response is an answer of the LM's server. `location` is the header of a redirect.
pub(super) fn obstacle(
    status: u16,
    location: Option<&str>,
    message: &str,
    asked: &Url,
    route: &Route,
) -> Option<String> {
    let message = message.to_lowercase();
    match status {
        300..=399 => Some(redirect(location, asked)),
        407 => Some(route.unauthorized()),
        400 if PLAIN_TO_TLS.iter().any(|part| message.contains(part)) => {
            Some("the port uses TLS: write https:// in place of http:// into api_base".to_owned())
        }
        _ => None,
    }
}

/// Redirects are not followed: the request, with its key, would go to an address that no setting names.
fn redirect(location: Option<&str>, asked: &Url) -> String {
    let to = location.and_then(|location| asked.join(location).ok());
    let Some(mut to) = to.filter(|to| matches!(to.scheme(), "http" | "https")) else {
        return "it redirects, and names no address: correct api_base".to_owned();
    };
    // These parts can hold secrets. An address without a host has none of them.
    let _ = (to.set_username(""), to.set_password(None));
    to.set_query(None);
    to.set_fragment(None);
    match to.path().strip_suffix(PATH).map(str::to_owned) {
        Some(base) if to.as_str() != asked.as_str() => {
            to.set_path(&base);
            let base = to.as_str().trim_end_matches('/');
            format!("it redirects to {base}{PATH}: write `api_base = \"{base}\"`")
        }
        Some(_) => "it redirects to the address that was asked: correct api_base".to_owned(),
        None => format!(
            "it redirects to {to}, which takes no chat completions: a login or another server stands in the way, or api_base is wrong"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Url {
        Url::parse("http://lm.example/v1/chat/completions").expect("a URL")
    }

    fn found(status: u16, location: Option<&str>, message: &str) -> Option<String> {
        let asked = asked();
        obstacle(status, location, message, &asked, &Route::to(&asked))
    }

    #[test]
    fn redirect_names_the_address_to_write() {
        for (location, words) in [
            (
                "https://lm.example/v1/chat/completions",
                "`api_base = \"https://lm.example/v1\"`",
            ),
            (
                "/api/v1/chat/completions?x=1",
                "`api_base = \"http://lm.example/api/v1\"`",
            ),
            ("/chat/completions", "`api_base = \"http://lm.example\"`"),
            ("/v1/chat/completions", "the address that was asked"),
            (
                "/login?to=/v1",
                "redirects to http://lm.example/login, which takes no chat",
            ),
            ("mailto:a@b", "names no address"),
        ] {
            let found = found(307, Some(location), "").expect("an obstacle");
            assert!(found.contains(words), "{location}: {found}");
        }
        assert!(found(301, None, "").is_some_and(|found| found.contains("names no address")));
    }

    #[test]
    fn redirect_shows_no_credentials_of_its_address() {
        for location in [
            "https://user:hunter2@lm.example/v1/chat/completions",
            "https://lm.example/login?token=hunter2#hunter2",
        ] {
            let found = found(302, Some(location), "").expect("an obstacle");
            assert!(!found.contains("hunter2") && !found.contains("user"), "{found}");
        }
    }

    #[test]
    fn answers_of_the_server_itself_are_no_obstacle() {
        for (status, message) in [(400, "too long"), (404, "no"), (500, "no"), (429, "slow")] {
            assert_eq!(found(status, None, message), None, "{status}");
        }
        for message in [
            "<title>400 The plain HTTP request was sent to HTTPS port</title>",
            "Client sent an HTTP request to an HTTPS server.",
        ] {
            let found = found(400, None, message).expect("an obstacle");
            assert!(found.contains("https://"), "{found}");
        }
        assert!(found(407, None, "").is_some_and(|found| found.contains("a user and a password")));
    }
}
