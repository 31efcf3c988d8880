//! Which examples' rows are kept back to measure with: a function of the job and the data alone.
//!
//! It goes by the example's inputs, so that examples with the same inputs, and the rows that several teachers or predictors made of
//! one example, are on the same side.

use sha2::{Digest as _, Sha256};
use std::collections::HashSet;

/// The examples that are kept back. 8 bytes of memory each, and as many for every other while they are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    held_back: HashSet<u64>,
}

impl Split {
    /// Keeps back `fraction` (0..1) of the examples with these digests of their inputs, rounded; of two and more at least one, and
    /// not all. Which, `seed` decides.
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

    /// How many of so many examples with different inputs are kept back.
    pub fn size(examples: usize, fraction: f64) -> usize {
        if fraction <= 0.0 || examples < 2 {
            return 0;
        }
        let wanted = (fraction * examples as f64).round() as usize;
        wanted.clamp(1, examples - 1)
    }

    /// Whether nothing is kept back.
    pub fn is_empty(&self) -> bool {
        self.held_back.is_empty()
    }

    /// Whether the rows of the example with this digest are kept back.
    pub fn holds_back(&self, example: u64) -> bool {
        self.held_back.contains(&example)
    }
}

/// Where an example stands in the line for being kept back.
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
    fn the_part_is_exact_and_neither_side_is_empty() {
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
    fn order_and_repetition_have_no_say() {
        let mut random = fastrand::Rng::with_seed(2);
        let mut examples: Vec<u64> = (0..50).map(|_| random.u64(..)).collect();
        let once = held_back(&examples, 0.3, 7);
        examples.extend_from_within(..20);
        random.shuffle(&mut examples);
        assert_eq!(held_back(&examples, 0.3, 7), once);
    }

    #[test]
    fn the_seed_decides_which() {
        let examples: Vec<u64> = (0..50).collect();
        assert_ne!(held_back(&examples, 0.2, 0), held_back(&examples, 0.2, 1));
    }

    #[test]
    fn more_of_the_same_data_keeps_what_was_kept_back_first_in_line() {
        let examples: Vec<u64> = (0..40).collect();
        let (few, many) = (held_back(&examples, 0.2, 3), held_back(&examples, 0.5, 3));
        assert!(few.iter().all(|example| many.contains(example)));
    }

    #[test]
    fn one_example_or_no_fraction_keeps_nothing_back() {
        assert!(Split::draw([5, 5, 5].into_iter(), 0.5, 0).is_empty());
        assert!(Split::draw([].into_iter(), 0.5, 0).is_empty());
        assert!(Split::draw(0..100, 0.0, 0).is_empty());
    }
}
