//! `[lm.NAME.finetune]`: who fine-tunes an LM, and how.

use super::definition::FINETUNE;
use super::lm::{api_base, key_variable, open_arguments};
use crate::finetune::{
    CommandSpec, DataPart, ExportSpec, FireworksSpec, ProviderSpec, RowFormat, ServiceSpec, file_name,
};
use crate::lm::LmSettings;
use crate::schema::Problems;
use crate::schema::{Item, Section, Values, nearest};
use serde_json::{Map, Value as Json};
use std::iter;

/// How one LM is fine-tuned.
#[derive(Clone, Debug, PartialEq)]
pub struct FinetuneSpec {
    /// Who trains.
    pub provider: ProviderSpec,
    /// The model that is trained, where it is not the LM's own: DSPy's `finetuning_model`.
    pub model: Option<String>,
    /// DSPy's `train_kwargs`, passed to the provider.
    pub train: Map<String, Json>,
    /// The part of the examples (0..1) whose rows are kept back to measure with.
    pub validation_fraction: f64,
}

impl FinetuneSpec {
    /// In which formats beside `messages` the rows are wanted: what the job names, and what the ready configuration for TRL reads.
    pub fn formats(&self) -> Vec<RowFormat> {
        let ProviderSpec::Export(export) = &self.provider else {
            return Vec::new();
        };
        let mut formats = export.formats.clone();
        if !formats.contains(&RowFormat::PromptCompletion) {
            formats.push(RowFormat::PromptCompletion);
        }
        formats
    }

    /// The files of rows that a key of the LM may get.
    pub fn row_files(&self, key: &str) -> Vec<String> {
        let parts = match self.validation_fraction > 0.0 {
            true => &[DataPart::Training, DataPart::Validation][..],
            false => &[DataPart::Training][..],
        };
        let formats: Vec<Option<RowFormat>> = iter::once(None)
            .chain(self.formats().into_iter().map(Some))
            .collect();
        let of_part = |part: &DataPart| {
            formats
                .iter()
                .map(|format| file_name(key, *part, *format))
                .collect::<Vec<_>>()
        };
        parts.iter().flat_map(of_part).collect()
    }
}

/// OpenAI's limit of a suffix, which the others keep to.
const LONGEST_SUFFIX: usize = 64;

/// `lm` is the LM that the table belongs to, where that could be read.
pub(super) fn read(
    table: &Values<'_>,
    lm: Option<&LmSettings>,
    problems: &mut Problems,
) -> Option<FinetuneSpec> {
    let provider = table.text("provider")?;
    keys_of_other_providers(table, provider, problems);
    let train = table.item("train").map(|item| open_arguments(item, problems));
    let spec = match provider {
        "export" => ProviderSpec::Export(ExportSpec {
            formats: table
                .item("formats")
                .map(|item| formats(item, problems))
                .unwrap_or_default(),
        }),
        "command" => ProviderSpec::Command(CommandSpec {
            trainer: needed(table, "trainer", problems)?,
        }),
        "openai" => ProviderSpec::Openai(beside(service(table, problems), lm)),
        "together" => ProviderSpec::Together(service(table, problems)),
        "fireworks" => ProviderSpec::Fireworks(FireworksSpec {
            account: needed(table, "account", problems)?,
            service: service(table, problems),
        }),
        _ => ProviderSpec::Simulated,
    };
    fits(table, train.as_ref(), &spec, problems);
    Some(FinetuneSpec {
        provider: spec,
        model: table.string("model"),
        train: train.unwrap_or_default(),
        validation_fraction: table.number("validation_fraction").unwrap_or(0.0),
    })
}

/// A string that the provider cannot do without.
fn needed(table: &Values<'_>, key: &str, problems: &mut Problems) -> Option<String> {
    let definition = FINETUNE.key(key)?;
    table.section().need(key, definition.example, problems)?;
    table.string(key)
}

/// Each key of `train` is one that whoever trains knows, with a value that can be.
fn fits(
    table: &Values<'_>,
    train: Option<&Map<String, Json>>,
    provider: &ProviderSpec,
    problems: &mut Problems,
) {
    let arguments = table
        .item("train")
        .and_then(|item| item.section(&mut Problems::default()));
    for (key, item) in arguments.iter().flat_map(Section::items) {
        let value = train.and_then(|train| train.get(key));
        if let Some(why) = value.and_then(|value| provider.unfit_train(key, value)) {
            item.place.report(problems, why, "change it or leave it out");
        }
    }
}

/// Reports the keys of the table that only other providers take.
fn keys_of_other_providers(table: &Values<'_>, provider: &str, problems: &mut Problems) {
    for key in FINETUNE.keys {
        let is_of_others = !key.providers.is_empty() && !key.providers.contains(&provider);
        if let Some(item) = table.section().get(key.name).filter(|_| is_of_others) {
            let message = format!("the provider `{provider}` takes no `{}`", key.name);
            let remedy = format!("leave it out; it is for {}", key.providers.join(", "));
            item.place.report(problems, message, remedy);
        }
    }
}

fn formats(item: &Item<'_>, problems: &mut Problems) -> Vec<RowFormat> {
    let items = item.list(problems).unwrap_or_default();
    let mut formats = Vec::new();
    for item in items {
        let Some(name) = item.word(problems) else { continue };
        match RowFormat::ALL.into_iter().find(|format| format.name() == name) {
            Some(format) if formats.contains(&format) => {}
            Some(format) => formats.push(format),
            None => {
                let message = format!("`{}` names no format of rows: `{name}`", item.name);
                let names = RowFormat::ALL.map(RowFormat::name);
                item.place
                    .report(problems, message, nearest(name, names.into_iter()));
            }
        }
    }
    formats
}

fn service(table: &Values<'_>, problems: &mut Problems) -> ServiceSpec {
    if let Some(item) = table.item("suffix")
        && table
            .text("suffix")
            .is_some_and(|suffix| suffix.chars().count() > LONGEST_SUFFIX)
    {
        let message = format!("`{}` is longer than {LONGEST_SUFFIX} characters", item.name);
        item.place.report(problems, message, "shorten it");
    }
    ServiceSpec {
        api_base: table.item("api_base").and_then(|item| api_base(item, problems)),
        api_key_env: table
            .item("api_key_env")
            .and_then(|item| key_variable(item, problems)),
        auth_header: table.item("auth_header").and_then(|item| header(item, problems)),
        suffix: table.string("suffix"),
        extra: table
            .item("extra")
            .map(|item| open_arguments(item, problems))
            .unwrap_or_default(),
    }
}

fn header(item: &Item<'_>, problems: &mut Problems) -> Option<String> {
    let name = item.word(problems)?;
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Some(name.to_ascii_lowercase());
    }
    let message = format!("`{}` is not the name of a header", item.name);
    item.place.report(
        problems,
        message,
        "write `auth_header = \"api-key\"`, or leave it out",
    );
    None
}

/// An LM of a private server is fine-tuned there, unless the table says where.
fn beside(service: ServiceSpec, lm: Option<&LmSettings>) -> ServiceSpec {
    match lm {
        Some(lm) if service.api_base.is_none() => ServiceSpec {
            api_base: lm.api_base.clone(),
            api_key_env: service.api_key_env.or_else(|| lm.api_key_env.clone()),
            ..service
        },
        _ => service,
    }
}
