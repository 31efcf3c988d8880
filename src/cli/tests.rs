//! What operators read about the flags, against the flags.

use super::service_urls::{AMQP_URL, REDIS_URL};
use super::{Cli, WorkerCommand};
use clap::{Arg, CommandFactory as _};
use std::collections::BTreeMap;

const NOTES: &str = include_str!("../../docs/operations/settings.md");

/// A row of the notes' table of flags: the variable and the default, without their backticks.
#[derive(Debug, PartialEq)]
struct FlagRow {
    variable: String,
    default: String,
}

fn noted() -> BTreeMap<String, FlagRow> {
    let table = NOTES
        .split("\n\n")
        .find(|part| part.trim().starts_with("| flag |"))
        .unwrap();
    let rows = table.trim().lines().skip(2).map(|line| {
        let mut cells = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().replace('`', ""));
        let flag = cells.next().unwrap();
        let (variable, default) = (cells.next().unwrap(), cells.next().unwrap());
        (flag, FlagRow { variable, default })
    });
    rows.collect()
}

fn arguments(command: &clap::Command) -> Vec<Arg> {
    let own = command
        .get_arguments()
        .filter(|argument| argument.get_long().is_some())
        .cloned();
    own.chain(command.get_subcommands().flat_map(arguments)).collect()
}

#[test]
fn operations_docs_list_all_flags_with_variables_and_defaults() {
    let mut noted = noted();
    let arguments = [arguments(&Cli::command()), arguments(&WorkerCommand::command())].concat();
    let mut seen = BTreeMap::new();
    for argument in arguments {
        let flag = format!("--{}", argument.get_long().unwrap());
        // URLs are secrets, which are read by other means than clap's.
        let variable = match flag.as_str() {
            "--amqp-url" => Some(AMQP_URL.to_owned()),
            "--redis-url" => Some(REDIS_URL.to_owned()),
            _ => argument.get_env().map(|name| name.to_str().unwrap().to_owned()),
        };
        let defaults = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_str().unwrap());
        let default = defaults.collect::<Vec<_>>().join(",");
        let row = noted
            .get(&flag)
            .unwrap_or_else(|| panic!("{flag} is not in the notes"));
        assert_eq!(row.variable, variable.unwrap_or_default(), "{flag}");
        if argument.get_action().takes_values() && !default.is_empty() {
            assert_eq!(row.default, default, "{flag}");
        }
        seen.insert(flag, ());
    }
    noted.retain(|flag, _| !seen.contains_key(flag));
    assert!(noted.is_empty(), "no flags: {noted:?}");
}
