//! Selects the validation examples, from the job and the data alone.
//!
//! The selection uses the digest of an example's inputs, so that examples with equal inputs, and the rows of several teachers or
//! predictors for one example, are on the same side.

use sha2::{Digest as _, Sha256};
use std::collections::HashSet;

/// The validation examples. Uses 8 bytes per validation example, and 16 bytes per example during the selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    held_back: HashSet<u64>,
}

impl Split {
    /// Selects `fraction` (0..1) of the examples with these input digests, rounded. Of two or more examples, at least one is selected and
    /// at least one is not. `seed` determines which.
    pub fn draw(examples: impl Iterator<Item = u64>, fraction: f64, seed: u64) -> Split {
        if fraction <= 0.0 {
            return Split::default();
        }
        let mut ranked: Vec<(u64, u64)> = examples
            .collect::<HashSet<u64>>()
            .into_iter()
            .map(|example| (rank(seed, example), example))
            .collect();
        ranked.sort_unstable();
        ranked.truncate(Split::size(ranked.len(), fraction));
        Split {
            held_back: ranked.into_iter().map(|(_, example)| example).collect(),
        }
    }

    /// The number of validation examples among `examples` examples with different inputs.
    pub fn size(examples: usize, fraction: f64) -> usize {
        if fraction <= 0.0 || examples < 2 {
            return 0;
        }
        let wanted = (fraction * examples as f64).round() as usize;
        wanted.clamp(1, examples - 1)
    }

    /// Whether there are no validation examples.
    pub fn is_empty(&self) -> bool {
        self.held_back.is_empty()
    }

    /// Whether the example with this digest is a validation example.
    pub fn holds_back(&self, example: u64) -> bool {
        self.held_back.contains(&example)
    }
}

/// The rank of an example: the examples with the lowest ranks are selected.
fn rank(seed: u64, example: u64) -> u64 {
    let digest = Sha256::new()
        .chain_update(b"validation")
        .chain_update(seed.to_le_bytes())
        .chain_update(example.to_le_bytes())
        .finalize();
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_back(examples: &[u64], fraction: f64, seed: u64) -> Vec<u64> {
        let split = Split::draw(examples.iter().copied(), fraction, seed);
        let mut held: Vec<u64> = split.held_back.into_iter().collect();
        held.sort_unstable();
        held
    }

    #[test]
    fn draw_selects_the_exact_fraction() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..300 {
            let examples: Vec<u64> = (0..random.u64(2..200)).collect();
            let fraction = f64::from(random.u32(1..=90)) / 100.0;
            let wanted = (fraction * examples.len() as f64).round() as usize;
            let held = held_back(&examples, fraction, random.u64(..));
            assert_eq!(
                held.len(),
                wanted.clamp(1, examples.len() - 1),
                "{fraction} of {}",
                examples.len()
            );
        }
    }

    #[test]
    fn draw_ignores_order_and_duplicates() {
        let mut random = fastrand::Rng::with_seed(2);
        let mut examples: Vec<u64> = (0..50).map(|_| random.u64(..)).collect();
        let once = held_back(&examples, 0.3, 7);
        examples.extend_from_within(..20);
        random.shuffle(&mut examples);
        assert_eq!(held_back(&examples, 0.3, 7), once);
    }

    #[test]
    fn draw_depends_on_the_seed() {
        let examples: Vec<u64> = (0..50).collect();
        assert_ne!(held_back(&examples, 0.2, 0), held_back(&examples, 0.2, 1));
    }

    #[test]
    fn larger_fraction_keeps_the_smaller_selection() {
        let examples: Vec<u64> = (0..40).collect();
        let (few, many) = (held_back(&examples, 0.2, 3), held_back(&examples, 0.5, 3));
        assert!(few.iter().all(|example| many.contains(example)));
    }

    #[test]
    fn draw_selects_nothing_from_one_example_or_fraction_0() {
        assert!(Split::draw([5, 5, 5].into_iter(), 0.5, 0).is_empty());
        assert!(Split::draw([].into_iter(), 0.5, 0).is_empty());
        assert!(Split::draw(0..100, 0.0, 0).is_empty());
    }
}
