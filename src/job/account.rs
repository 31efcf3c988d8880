//! `[account.NAME]`: declared limits, and the LMs that share them.

use super::keys::{AccountTable, LmTable};
use super::lm::Lms;
use crate::lm::{AccountLimits, LmSettings};
use crate::schema::form::{NamedEntry, Read};
use crate::schema::{Problems, nearest};
use indexmap::IndexMap;

/// The key `account` of an LM or of an endpoint.
pub(super) struct Membership<'a> {
    /// The LM's name.
    lm: &'a str,
    /// The number of the endpoint. `None` for all endpoints of the LM: they share the limits, whatever their addresses and keys are.
    endpoint: Option<usize>,
    account: Read<'a, &'a str>,
}

/// The LMs and endpoints that name an account.
pub(super) fn memberships<'a>(lms: &[NamedEntry<'a, LmTable<'a>>]) -> Vec<Membership<'a>> {
    let tables = lms
        .iter()
        .filter_map(|entry| Some((entry.name, entry.value.as_ref()?)));
    let of_lm = |(lm, table): (&'a str, &LmTable<'a>)| {
        let endpoints = table.endpoints.iter().flat_map(|list| &list.value);
        let own = endpoints
            .enumerate()
            .filter_map(|(number, endpoint)| Some((Some(number), endpoint.value.account.clone()?)));
        let number = table.endpoints.is_none().then_some(0);
        let shared = table.account.clone().map(|account| (number, account));
        let members = own.chain(shared).map(|(endpoint, account)| Membership {
            lm,
            endpoint,
            account,
        });
        members.collect::<Vec<_>>()
    };
    tables.flat_map(of_lm).collect()
}

/// Reads the declared limits by account. An account without limits or without LMs is a problem, and so is an LM of a missing account.
pub(super) fn limits(
    tables: &[NamedEntry<'_, AccountTable<'_>>],
    members: &[Membership<'_>],
    lms: &Lms,
    problems: &mut Problems,
) -> IndexMap<String, AccountLimits> {
    let mut accounts = IndexMap::new();
    for entry in tables {
        let Some(table) = &entry.value else { continue };
        let count = |key: &Option<Read<'_, u64>>| key.as_ref().map(|read| read.value);
        let limits = AccountLimits {
            rpm: count(&table.rpm),
            tpm: count(&table.tpm),
            rpd: count(&table.rpd),
            concurrent: count(&table.concurrent),
        };
        // A limit that could not be read has been reported.
        if table.section.items().next().is_none() {
            entry.item.place.report(
                problems,
                format!("[account.{}] declares no limit", entry.name),
                "write `rpm = 500`, `tpm`, `rpd` or `concurrent`, or leave the account out",
            );
        }
        if !members.iter().any(|member| member.account.value == entry.name) {
            entry.item.place.report(
                problems,
                format!("no LM belongs to [account.{}]", entry.name),
                format!(
                    "write `account = \"{}\"` in its [lm.NAME], or leave the account out",
                    entry.name
                ),
            );
        }
        accounts.insert(entry.name.to_owned(), limits);
    }
    for member in members {
        member_fits(member, tables, members, lms, problems);
    }
    accounts
}

/// The account exists, and its first LM has the same address and key.
fn member_fits(
    member: &Membership<'_>,
    tables: &[NamedEntry<'_, AccountTable<'_>>],
    members: &[Membership<'_>],
    lms: &Lms,
    problems: &mut Problems,
) {
    let name = member.account.value;
    if !tables.iter().any(|table| table.name == name) {
        let remedy = match tables {
            [] => format!("write `[account.{name}]` and under it `rpm = 500` or another limit"),
            _ => nearest(name, tables.iter().map(|table| table.name)),
        };
        member
            .account
            .report(problems, format!("there is no account `{name}`"), remedy);
        return;
    }
    let of_account = |other: &&Membership<'_>| other.account.value == name && other.endpoint.is_some();
    let Some(first) = members.iter().find(of_account) else {
        return;
    };
    let endpoint = |member: &Membership<'_>| {
        let endpoints = lms.settings.get(member.lm)?.endpoints();
        endpoints.into_iter().nth(member.endpoint?)
    };
    let (Some(own), Some(others)) = (endpoint(member), endpoint(first)) else {
        return;
    };
    let access = |lm: &LmSettings| (lm.shown_address(), lm.key_variable().map(str::to_owned));
    let differs = match (access(&own), access(&others)) {
        ((address, _), (other, _)) if address != other => "address",
        ((_, key), (_, other)) if key != other => "key variable",
        _ => return,
    };
    member.account.report(
        problems,
        format!(
            "[lm.{}] has another {differs} than [lm.{}], and both belong to [account.{name}]",
            member.lm, first.lm
        ),
        "an account is one address and one key: give each its own [account.NAME]",
    );
}
