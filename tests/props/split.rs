//! The validation split.

use crate::config;
use bsft::dataset::Split;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashSet;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn split_ignores_order_and_duplicates(
        examples in vec(any::<u64>(), 0..200),
        fraction in 0.0..1.0,
        seed: u64,
    ) {
        let split = Split::draw(examples.iter().copied(), fraction, seed);
        let repeated = examples.iter().rev().chain(&examples).copied();
        prop_assert_eq!(split, Split::draw(repeated, fraction, seed));
    }

    #[test]
    fn split_holds_back_the_rounded_fraction_and_leaves_a_row_on_each_side(
        examples in vec(any::<u64>(), 0..200),
        fraction in 0.001..0.999,
        seed: u64,
    ) {
        let distinct: HashSet<u64> = examples.iter().copied().collect();
        let split = Split::draw(examples.into_iter(), fraction, seed);
        let held_back = distinct.iter().filter(|example| split.holds_back(**example)).count();
        prop_assert_eq!(held_back, Split::size(distinct.len(), fraction));
        if distinct.len() >= 2 {
            prop_assert!((1..distinct.len()).contains(&held_back));
            let exact = fraction * distinct.len() as f64;
            prop_assert!(held_back == 1 || held_back == distinct.len() - 1 || (held_back as f64 - exact).abs() <= 0.5);
        } else {
            prop_assert_eq!(held_back, 0);
        }
    }

    #[test]
    fn split_moves_few_examples_when_one_is_added(
        examples in vec(any::<u64>(), 2..200),
        added: u64,
        seed: u64,
    ) {
        let before = Split::draw(examples.iter().copied(), 0.2, seed);
        let after = Split::draw(examples.iter().copied().chain([added]), 0.2, seed);
        let distinct: HashSet<u64> = examples.into_iter().collect();
        let moved = distinct.iter().filter(|example| before.holds_back(**example) != after.holds_back(**example));
        prop_assert!(moved.count() <= 1);
    }
}
