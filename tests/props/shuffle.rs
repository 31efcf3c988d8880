//! Python's `random.shuffle`.

use crate::config;
use bsft_pycompat::random::Random;
use proptest::prelude::*;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn shuffle_permutes_and_depends_on_seed_and_length_only(seed: u32, length in 0usize..500) {
        let shuffled = |offset: usize| {
            let mut items: Vec<usize> = (offset..offset + length).collect();
            Random::new(seed).shuffle(&mut items);
            items
        };
        let items = shuffled(0);
        let shifted: Vec<usize> = items.iter().map(|item| item + 1000).collect();
        prop_assert_eq!(shuffled(1000), shifted);
        let mut sorted = items;
        sorted.sort_unstable();
        prop_assert!(sorted.into_iter().eq(0..length));
    }

    #[test]
    fn below_stays_under_its_bound(seed: u32, bound: u32) {
        let drawn = Random::new(seed).below(bound);
        prop_assert!(drawn < bound.max(1));
    }
}
