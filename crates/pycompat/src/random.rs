//! Python's `random.Random`: MT19937 seeded by an integer, and the shuffle that orders training rows.

use rand_mt::Mt;

/// The generator of `random.Random(seed)`.
#[derive(Clone)]
pub struct Random(Box<Mt>);

impl Random {
    /// `random.Random(seed)`: MT19937 initialised by the key `[seed]`.
    pub fn new(seed: u32) -> Random {
        Random(Box::new(Mt::new_with_key([seed])))
    }

    /// The next 32 random bits, `getrandbits(32)`.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number in `0..bound`, as `shuffle` draws it; 0 for a bound of 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        if bound == 0 {
            return 0;
        }
        let shift = bound.leading_zeros();
        loop {
            let r = self.next_u32() >> shift;
            if r < bound {
                return r;
            }
        }
    }

    /// `random.shuffle(items)`.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` items, for which Python draws more than 32 bits.
    ///
    /// ```
    /// use bsft_pycompat::random::Random;
    ///
    /// // random.Random(0).shuffle(letters)
    /// let mut letters = ["a", "b", "c", "d", "e", "f"];
    /// Random::new(0).shuffle(&mut letters);
    /// assert_eq!(letters, ["e", "c", "b", "a", "f", "d"]);
    /// ```
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let bound = u32::try_from(i + 1).expect("shuffle takes at most u32::MAX items");
            items.swap(i, self.below(bound) as usize);
        }
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Random").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn new_seeds_the_generator_as_cpython_does() {
        let first_words = |seed| {
            let mut random = Random::new(seed);
            [(); 5].map(|()| random.next_u32())
        };
        assert_eq!(
            first_words(0),
            [
                3_626_764_237,
                1_654_615_998,
                3_255_389_356,
                3_823_568_514,
                1_806_341_205
            ]
        );
        assert_eq!(
            first_words(u32::MAX),
            [
                2_728_839_433,
                2_661_025_012,
                872_737_089,
                924_893_097,
                2_608_619_700
            ]
        );
    }

    #[test]
    fn lists_of_every_length_shuffle_as_in_python() {
        for row in vectors::rows("shuffle") {
            let n = row["n"].as_u64().expect("n is a length");
            let mut items: Vec<u64> = (0..n).collect();
            Random::new(0).shuffle(&mut items);
            assert_eq!(serde_json::json!(items), row["out"], "n = {n}");
        }
    }
}
