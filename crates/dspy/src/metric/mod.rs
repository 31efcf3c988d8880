//! Metrics: the score of a prediction against its example, and the threshold for keeping it.

mod normal;

pub use normal::normalize;

use crate::adapter::value::jsonable;
use crate::signature::{Type, coerce};
use bsft_pycompat::value::{Record, Value};
use bsft_pycompat::{equal, json};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The `[metric]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricSpec {
    /// The comparison.
    pub kind: MetricKind,
    /// The name of the label and of the output field that are compared.
    pub field: String,
    /// The minimum score to keep an example. `None` keeps every truthy score, as DSPy does.
    pub threshold: Option<f64>,
}

/// The declarative metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// Typed equality.
    Equals,
    /// DSPy's `EM`: equal after normalisation.
    ExactMatch,
    /// DSPy's `F1` over normalised tokens.
    F1,
    /// The normalised gold answer is part of the normalised prediction.
    Contains,
}

/// A metric ready to score predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    spec: MetricSpec,
}

/// Why a prediction cannot be scored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// The example has no column of this name.
    #[error("the example has no label `{0}`: name a column of the trainset as the metric's field")]
    NoLabel(String),
    /// The prediction has no output of this name.
    #[error("the prediction has no field `{0}`: name an output of the program as the metric's field")]
    NoField(String),
}

impl Metric {
    /// Creates the metric that `spec` describes.
    pub fn new(spec: &MetricSpec) -> Metric {
        Metric { spec: spec.clone() }
    }

    /// The name of the label and output field that are compared.
    pub fn field(&self) -> &str {
        &self.spec.field
    }

    /// The score of a prediction: a bool, for F1 a float, or 0 where no token is shared. `got` is its value of
    /// [`Metric::field`], if it has one. `ty` is the annotation of that output field, if known; only `equals` uses it.
    ///
    /// ```
    /// use bsft_dspy::metric::{Metric, MetricKind, MetricSpec};
    /// use bsft_pycompat::value::{Record, Value};
    ///
    /// let spec = MetricSpec {
    ///     kind: MetricKind::F1,
    ///     field: "answer".to_owned(),
    ///     threshold: Some(0.5),
    /// };
    /// let metric = Metric::new(&spec);
    /// let example = Record::from([("answer".to_owned(), Value::from("the Eiffel Tower"))]);
    /// let got = Value::from("Eiffel tower, Paris");
    /// let score = metric.score(None, &example, Some(&got))?;
    /// assert_eq!(score, Value::Float(0.8));
    /// assert!(metric.keeps(&score));
    /// # Ok::<(), bsft_dspy::metric::MetricError>(())
    /// ```
    pub fn score(
        &self,
        ty: Option<&Type>,
        example: &Record,
        got: Option<&Value>,
    ) -> Result<Value, MetricError> {
        let field = &self.spec.field;
        let gold = example
            .get(field)
            .ok_or_else(|| MetricError::NoLabel(field.clone()))?;
        let got = got.ok_or_else(|| MetricError::NoField(field.clone()))?;
        Ok(match self.spec.kind {
            MetricKind::Equals => Value::Bool(equals(ty, gold, got)),
            MetricKind::ExactMatch => {
                let got = normalize(&as_text(got));
                Value::Bool(accepted(gold).iter().any(|gold| normalize(&as_text(gold)) == got))
            }
            MetricKind::Contains => {
                let got = normalize(&as_text(got));
                let holds = |gold: &Value| normal::contains(&got, &normalize(&as_text(gold)));
                Value::Bool(accepted(gold).iter().any(holds))
            }
            MetricKind::F1 => {
                let golds = accepted(gold);
                let got = normalize(&as_text(got));
                let scores = golds
                    .iter()
                    .filter_map(|gold| normal::f1(&got, &normalize(&as_text(gold))));
                match scores.reduce(f64::max) {
                    Some(best) => Value::Float(best),
                    None if golds.is_empty() => Value::Bool(false),
                    None => Value::Int(0),
                }
            }
        })
    }

    /// Whether an example with this score becomes a training row.
    pub fn keeps(&self, score: &Value) -> bool {
        let Some(threshold) = self.spec.threshold else {
            return score.is_truthy();
        };
        match score {
            Value::Bool(b) => f64::from(u8::from(*b)) >= threshold,
            Value::Int(i) => *i as f64 >= threshold,
            Value::Float(f) => *f >= threshold,
            _ => false,
        }
    }
}

/// The accepted answers: the items of a list label, or the label itself.
fn accepted(gold: &Value) -> Cow<'_, [Value]> {
    match gold {
        Value::List(golds) => golds.values(),
        one => Cow::Borrowed(std::slice::from_ref(one)),
    }
}

/// Returns a string unchanged and any other value as JSON.
fn as_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Str(s) => Cow::Borrowed(s),
        Value::Enum(e) => as_text(&e.value),
        _ => Cow::Owned(json::dumps(&jsonable(value))),
    }
}

/// Python's `==` after coercing the label to the field's type. A list label contains accepted answers, unless the
/// field itself is a collection.
fn equals(ty: Option<&Type>, gold: &Value, got: &Value) -> bool {
    let is_several = match ty {
        Some(Type::List(_) | Type::Set(_) | Type::Tuple(_)) => true,
        Some(Type::Union(members)) => members
            .iter()
            .any(|m| matches!(m, Type::List(_) | Type::Set(_) | Type::Tuple(_))),
        Some(Type::Any) | None => matches!(got, Value::List(_) | Value::Set(_) | Value::Tuple(_)),
        Some(_) => false,
    };
    let same = |gold: &Value| {
        equal::eq(gold, got)
            || ty.is_some_and(|ty| {
                coerce::from_value(gold.clone(), ty).is_ok_and(|gold| equal::eq(&gold, got))
            })
    };
    if is_several {
        same(gold)
    } else {
        accepted(gold).iter().any(same)
    }
}

#[cfg(test)]
mod tests;
