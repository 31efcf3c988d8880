//! `[lm.NAME.finetune]`: the provider that fine-tunes an LM, and its settings.

use super::access::{api_base, key_variable, open_arguments};
use super::keys::FinetuneTable;
use crate::finetune::{
    CommandSpec, DataPart, ExportSpec, FireworksSpec, ProviderSpec, RowFormat, ServiceSpec, file_name,
    refuses_system_role,
};
use crate::http::credential_header;
use crate::lm::LmSettings;
use crate::schema::definition::Table as _;
use crate::schema::form::Read;
use crate::schema::{Problems, Section};
use serde_json::{Map, Value as Json};
use std::iter;

/// How one LM is fine-tuned.
#[derive(Clone, Debug, PartialEq)]
pub struct FinetuneSpec {
    /// The provider of the training.
    pub provider: ProviderSpec,
    /// The model that is trained, if it is not the LM's own: DSPy's `finetuning_model`.
    pub model: Option<String>,
    /// DSPy's `train_kwargs`, passed to the provider.
    pub train: Map<String, Json>,
    /// The fraction of the examples (0..1) whose rows are held out for validation.
    pub validation_fraction: f64,
}

impl FinetuneSpec {
    /// The row formats beside `messages`: those that the job names, and the one that the TRL configuration reads.
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

    /// The job's own limit of a row's length in tokens, by the names that trainers and services have for it.
    pub fn length_limit(&self) -> Option<u64> {
        let limit = |key: &&str| self.train.get(*key).and_then(Json::as_u64);
        LENGTH_LIMITS.iter().find_map(limit).filter(|tokens| *tokens > 0)
    }

    /// Whether the trainer would refuse the system message of every row: by the chat template of `model`, unless the job gives another
    /// template.
    pub fn refuses_system_messages(&self, model: &str) -> bool {
        let own_template = self.train.keys().any(|key| key.contains("template"));
        self.provider != ProviderSpec::Simulated && !own_template && refuses_system_role(model)
    }

    /// The files of rows that an LM key may get.
    pub fn row_files(&self, key: &str) -> Vec<String> {
        let parts = if self.validation_fraction > 0.0 {
            &[DataPart::Training, DataPart::Validation][..]
        } else {
            &[DataPart::Training][..]
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

/// The keys of `train` that limit a row's length: of TRL and `command`, of axolotl and Together, of LLaMA-Factory, and of Fireworks.
const LENGTH_LIMITS: [&str; 5] = [
    "max_length",
    "max_seq_length",
    "sequence_len",
    "cutoff_len",
    "max_context_length",
];

/// OpenAI's maximum length of a suffix. The other providers have the same limit.
const LONGEST_SUFFIX: usize = 64;

/// `lm` is the LM that the table belongs to. `None` if it could not be read.
pub(super) fn spec(
    table: FinetuneTable<'_>,
    lm: Option<&LmSettings>,
    problems: &mut Problems,
) -> Option<FinetuneSpec> {
    let provider = table.provider.as_ref()?.value;
    fits_provider(&table.section, provider, problems);
    let train = table
        .train
        .as_ref()
        .map(|train| open_arguments(&train.value, problems));
    let model = table.model.as_ref().map(|model| model.value.to_owned());
    let validation_fraction = table.validation_fraction.as_ref().map_or(0.0, |part| part.value);
    let provider = match provider {
        "export" => ProviderSpec::Export(ExportSpec {
            formats: formats(&table),
        }),
        "command" => ProviderSpec::Command(CommandSpec {
            trainer: table.trainer.as_ref()?.value.to_owned(),
        }),
        "openai" => ProviderSpec::Openai(beside(service(&table, problems), lm)),
        "together" => ProviderSpec::Together(service(&table, problems)),
        "fireworks" => ProviderSpec::Fireworks(FireworksSpec {
            account: table.account.as_ref()?.value.to_owned(),
            service: service(&table, problems),
        }),
        _ => ProviderSpec::Simulated,
    };
    for (key, item) in table.train.iter().flat_map(|train| train.value.items()) {
        let value = train.as_ref().and_then(|train| train.get(key));
        if let Some(why) = value.and_then(|value| provider.unfit_train(key, value)) {
            item.place.report(problems, why, "change it or leave it out");
        }
    }
    Some(FinetuneSpec {
        provider,
        model,
        train: train.unwrap_or_default(),
        validation_fraction,
    })
}

/// Reports keys of other providers, and missing keys that this provider needs.
fn fits_provider(section: &Section<'_>, provider: &str, problems: &mut Problems) {
    for key in FinetuneTable::definition().keys {
        let takers = key.notes.providers;
        if takers.is_empty() {
            continue;
        }
        if takers.contains(&provider) {
            if key.notes.is_required {
                section.need(key.name, key.notes.example, problems);
            }
        } else if let Some(item) = section.get(key.name) {
            let message = format!("the provider `{provider}` takes no `{}`", key.name);
            let remedy = format!("leave it out; it is for {}", takers.join(", "));
            item.place.report(problems, message, remedy);
        }
    }
}

fn formats(table: &FinetuneTable<'_>) -> Vec<RowFormat> {
    let mut formats = Vec::new();
    for format in table.formats.iter().flat_map(|list| &list.value) {
        if !formats.contains(&format.value) {
            formats.push(format.value);
        }
    }
    formats
}

fn service(table: &FinetuneTable<'_>, problems: &mut Problems) -> ServiceSpec {
    if let Some(suffix) = &table.suffix
        && suffix.value.chars().count() > LONGEST_SUFFIX
    {
        let message = format!("`{}` is longer than {LONGEST_SUFFIX} characters", suffix.name());
        suffix.report(problems, message, "shorten it");
    }
    let extra = table.extra.as_ref();
    ServiceSpec {
        api_base: table.api_base.as_ref().and_then(|text| api_base(text, problems)),
        api_key_env: table
            .api_key_env
            .as_ref()
            .and_then(|text| key_variable(text, problems)),
        auth_header: table.auth_header.as_ref().and_then(|text| header(text, problems)),
        suffix: table.suffix.as_ref().map(|suffix| suffix.value.to_owned()),
        extra: extra
            .map(|table| open_arguments(&table.value, problems))
            .unwrap_or_default(),
    }
}

fn header(text: &Read<'_, &str>, problems: &mut Problems) -> Option<String> {
    let name = text.value.to_ascii_lowercase();
    match credential_header(&name) {
        Ok(()) => Some(name),
        Err(why) => {
            let message = format!("`{}` {why}", text.name());
            text.report(
                problems,
                message,
                "write `auth_header = \"api-key\"`, or leave it out",
            );
            None
        }
    }
}

/// The default provider of an LM on a private server is that server.
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
