//! The service's price estimate for a training, available once the rows are uploaded.

use super::create_job::{self, Files};
use super::model_limits::base_model;
use crate::finetune::TrainingSpec;
use crate::finetune::http::Http;
use serde_json::json;

/// Logs the estimate. An error is ignored.
pub(super) async fn log(http: &Http, recipe: &TrainingSpec, files: &Files, rank: Option<u64>) {
    let mut body = json!({
        "model": base_model(recipe),
        "training_file": files.training,
        "n_epochs": recipe.train.get("n_epochs").cloned().unwrap_or_else(|| json!(1)),
        "training_method": create_job::method(&recipe.train),
    });
    if let Some(kind) = create_job::training_type(recipe, rank) {
        body["training_type"] = kind;
    }
    match http.post(&["fine-tunes", "estimate-price"], Some(&body)).await {
        Err(why) => tracing::debug!(%why, "no estimate of the price"),
        Ok(estimate) => {
            let price = &estimate["estimated_total_price"];
            if estimate["allowed_to_proceed"] == false {
                tracing::warn!(%price, lm = recipe.lm, "Together estimates more than the account can pay");
            } else if !price.is_null() {
                tracing::info!(%price, lm = recipe.lm, "Together's estimate of the training's price");
            }
        }
    }
}
