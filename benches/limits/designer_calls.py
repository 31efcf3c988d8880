"""NeMo Data Designer on the same questions: a column for each call, all settings but the concurrency at their defaults.

    designer_calls.py TRAINSET API_BASE IN_FLIGHT CALLS
"""

import json
import sys
from pathlib import Path

import data_designer.config as dd
import pandas
from data_designer.interface import DataDesigner


def main():
    trainset, api_base, in_flight, calls = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    questions = pandas.read_json(trainset, lines=True)
    provider = dd.ModelProvider(name="limited", endpoint=api_base, api_key="first")
    model = dd.ModelConfig(
        alias="teacher",
        model="teacher",
        provider="limited",
        inference_parameters=dd.ChatCompletionInferenceParams(max_parallel_requests=in_flight),
        skip_health_check=True,
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=questions[["question"]]))
    previous = ""
    for step in range(calls):
        prompt = f"Step {step}: {{{{ question }}}} {previous}"
        builder.add_column(dd.LLMTextColumnConfig(name=f"step_{step}", model_alias="teacher", prompt=prompt))
        previous = f"{{{{ step_{step} }}}}"
    designer = DataDesigner(artifact_path=Path.cwd() / "artifacts", model_providers=[provider])
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None))
    results = designer.create(builder, num_records=len(questions))
    print(json.dumps({"kept": len(results.load_dataset())}))


main()
