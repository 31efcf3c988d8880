//! One fuzz target under AFL++, chosen by the variable `BSFT_FUZZ_TARGET`; `tests/fuzz/run.sh` starts it.

mod replies;
mod targets;

fn main() {
    let name = std::env::var("BSFT_FUZZ_TARGET").unwrap_or_default();
    let Some((_, target)) = targets::TARGETS.into_iter().find(|(target, _)| *target == name) else {
        let names: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
        panic!("set BSFT_FUZZ_TARGET to one of {}", names.join(", "));
    };
    afl::fuzz!(|data: &[u8]| {
        if let Ok(text) = std::str::from_utf8(data) {
            target(text);
        }
    });
}
