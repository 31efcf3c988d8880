//! Python's `random.Random`: MT19937 seeded by an integer, and the shuffle that orders training rows.

const N: usize = 624;
const M: usize = 397;

/// The generator of `random.Random(seed)`.
#[derive(Clone)]
pub struct Random {
    state: Box<[u32; N]>,
    next: usize,
}

impl Random {
    /// `random.Random(seed)`: MT19937 initialised by the key `[seed]`.
    pub fn new(seed: u32) -> Random {
        let mut mt = Box::new([0u32; N]);
        mt[0] = 19_650_218;
        for i in 1..N {
            mt[i] = (mt[i - 1] ^ (mt[i - 1] >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(i as u32);
        }
        let mut i = 1;
        let wrap = |mt: &mut [u32; N], i: &mut usize| {
            *i += 1;
            if *i == N {
                mt[0] = mt[N - 1];
                *i = 1;
            }
        };
        for _ in 0..N {
            let previous = mt[i - 1] ^ (mt[i - 1] >> 30);
            mt[i] = (mt[i] ^ previous.wrapping_mul(1_664_525)).wrapping_add(seed);
            wrap(&mut mt, &mut i);
        }
        for _ in 0..N - 1 {
            let previous = mt[i - 1] ^ (mt[i - 1] >> 30);
            mt[i] = (mt[i] ^ previous.wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            wrap(&mut mt, &mut i);
        }
        mt[0] = 0x8000_0000;
        Random { state: mt, next: N }
    }

    /// The next 32 random bits, `getrandbits(32)`.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
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
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let bound = u32::try_from(i + 1).expect("shuffle takes at most u32::MAX items");
            items.swap(i, self.below(bound) as usize);
        }
    }

    fn twist(&mut self) {
        let mt = &mut self.state;
        for i in 0..N {
            let y = (mt[i] & 0x8000_0000) | (mt[(i + 1) % N] & 0x7fff_ffff);
            let mixed = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            mt[i] = mt[(i + M) % N] ^ (y >> 1) ^ mixed;
        }
        self.next = 0;
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Random")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn the_first_words_are_those_of_seed_zero() {
        let mut random = Random::new(0);
        let words = [
            3_626_764_237,
            1_654_615_998,
            3_255_389_356,
            3_823_568_514,
            1_806_341_205,
        ];
        assert_eq!(words.map(|_| random.next_u32()), words);
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
