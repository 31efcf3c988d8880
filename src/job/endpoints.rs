//! `endpoints` of `[lm.NAME]`: several servers of one model.

use super::access::{api_base, key_variable};
use super::keys::{EndpointTable, LmTable};
use crate::lm::{LmEndpoint, LmSettings};
use crate::schema::Problems;
use crate::schema::form::Read;

/// A call remembers in 64 bits at which endpoints it has failed.
const MOST_ENDPOINTS: usize = 64;

/// The endpoints of an LM: the one of `api_base` and `api_key_env`, or those of `endpoints`; never none. An LM's `account` is that of each
/// endpoint that names none.
pub(super) fn endpoints(lm: &LmTable<'_>, problems: &mut Problems) -> Vec<LmEndpoint> {
    let own = LmEndpoint {
        api_base: lm.api_base.as_ref().and_then(|text| api_base(text, problems)),
        api_key_env: lm
            .api_key_env
            .as_ref()
            .and_then(|text| key_variable(text, problems)),
        account: lm.account.as_ref().map(|name| name.value.to_owned()),
    };
    let Some(list) = &lm.endpoints else {
        return vec![own];
    };
    for key in [&lm.api_base, &lm.api_key_env].into_iter().flatten() {
        let message = format!("`{}` and `{}` exclude each other", key.name(), list.name());
        key.report(problems, message, "write it into one of the endpoints");
    }
    if list.value.len() > MOST_ENDPOINTS {
        let message = format!("`{}` has more than {MOST_ENDPOINTS} endpoints", list.name());
        list.report(problems, message, "take some out");
    }
    let endpoints: Vec<LmEndpoint> = list
        .value
        .iter()
        .map(|entry| endpoint(&entry.value, own.account.as_deref(), problems))
        .collect();
    if endpoints.is_empty() {
        // One that could not be read has been reported.
        let message = format!("`{}` has no endpoint", list.name());
        list.report(
            problems,
            message,
            "write `endpoints = [{ api_base = \"http://127.0.0.1:8000/v1\" }]`, or leave it out",
        );
        return vec![own];
    }
    endpoints
}

fn endpoint(table: &EndpointTable<'_>, account: Option<&str>, problems: &mut Problems) -> LmEndpoint {
    LmEndpoint {
        api_base: table.api_base.as_ref().and_then(|text| api_base(text, problems)),
        api_key_env: table
            .api_key_env
            .as_ref()
            .and_then(|text| key_variable(text, problems)),
        account: table
            .account
            .as_ref()
            .map(|name| name.value)
            .or(account)
            .map(str::to_owned),
    }
}

/// Reports endpoints with the address and the key variable of an earlier one: both would be the same.
pub(super) fn report_repeated(lm: &LmTable<'_>, settings: &LmSettings, problems: &mut Problems) {
    let Some(list) = &lm.endpoints else { return };
    let all = settings.endpoints();
    let access = |endpoint: &LmSettings| {
        (
            endpoint.shown_address(),
            endpoint.key_variable().map(str::to_owned),
        )
    };
    for (number, (entry, own)) in list.value.iter().zip(&all).enumerate() {
        // An address that could not be read has been reported.
        let is_read = |key: &Option<Read<'_, &str>>, value: &Option<String>| key.is_some() == value.is_some();
        let table = &entry.value;
        if !is_read(&table.api_base, &own.api_base) || !is_read(&table.api_key_env, &own.api_key_env) {
            continue;
        }
        if all[..number].iter().any(|earlier| access(earlier) == access(own)) {
            let message = format!(
                "`{}` has two endpoints with the address {} and the same key variable",
                list.name(),
                own.shown_address()
            );
            entry.report(
                problems,
                message,
                "take one out, or give it another `api_base` or `api_key_env`",
            );
        }
    }
}
