#!/usr/bin/env bash
# Writes the generated pages of docs/reference and the JSON Schemas. A test fails when they are stale.
set -euo pipefail
cd "$(dirname "$0")/.."
BSFT_WRITE_REFERENCE=1 cargo test --lib reference_is_up_to_date
