# Sourced: makes BSFT_DSPY_PYTHON name a Python with the DSPy that everything is compared with, where that is possible. With
# dspy_tried set it installs nothing.
dspy=dspy==3.4.1
# What DSPy's bytes come from, as it was when the facts were taken.
pins=(pydantic==2.14.3 json_repair==0.64.6 orjson==3.13.0 litellm==1.106.2 openai==2.54.0 regex==2026.11.15)
is_dspy() {
    LITELLM_LOCAL_MODEL_COST_MAP=true "$1" -c 'import importlib.metadata as m, sys; sys.exit(m.version("dspy") != "3.4.1")' 2>/dev/null
}
if [ -z "${BSFT_DSPY_PYTHON:-}" ]; then
    venv="${CARGO_TARGET_DIR:-$PWD/target}/dspy-venv"
    if ! is_dspy "$venv/bin/python" && [ -z "${dspy_tried:-}" ]; then
        echo "installing by pip into $venv: $dspy (the parity tests compare with it)"
        if ! { python3 -m venv --clear "$venv" && "$venv/bin/pip" install --quiet --retries 1 --timeout 20 \
            --disable-pip-version-check --no-input "$dspy" "${pins[@]}"; }; then
            echo "NOTE: $dspy could not be installed: nothing will be compared with the real DSPy" >&2
        fi
    fi
    if is_dspy "$venv/bin/python"; then
        export BSFT_DSPY_PYTHON="$venv/bin/python"
    fi
fi
