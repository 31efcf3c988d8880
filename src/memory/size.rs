//! The size of the memory budget, as `--memory` has it.

use super::limit::memory_limit;
use std::fmt;
use std::str::FromStr;

/// The default for a process with enough memory: with the largest answer, it takes less than 512 MB.
const DEFAULT: usize = 128 << 20;

/// The part of the process's memory that is the default if there is less.
const PART: usize = 4;

/// The size of a budget, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySize(usize);

impl MemorySize {
    /// Less leaves no room for an answer of a megabyte.
    pub const LEAST: MemorySize = MemorySize(16 << 10);

    /// More is not counted.
    pub const MOST: MemorySize = MemorySize((u32::MAX >> 4) as usize);

    /// The default on this machine: 128 MiB, or a quarter of what the process may use if that is less.
    pub fn for_this_process() -> MemorySize {
        let bytes = memory_limit().map_or(DEFAULT, |limit| DEFAULT.min(limit / PART));
        MemorySize(bytes >> 10).between()
    }

    pub(super) fn kib(self) -> usize {
        self.0
    }

    fn between(self) -> MemorySize {
        MemorySize(self.0.clamp(MemorySize::LEAST.0, MemorySize::MOST.0))
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            kib if kib.is_multiple_of(1 << 20) => write!(f, "{}G", kib >> 20),
            kib if kib.is_multiple_of(1 << 10) => write!(f, "{}M", kib >> 10),
            kib => write!(f, "{kib}K"),
        }
    }
}

/// The text is no size, or one that is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMemorySize {
    /// Another form.
    #[error("use a number and a unit, such as 256M or 2G")]
    Form,
    /// Below [`MemorySize::LEAST`].
    #[error("the least is {}", MemorySize::LEAST)]
    TooSmall,
}

impl FromStr for MemorySize {
    type Err = BadMemorySize;

    /// A number with the unit K, M or G, of 1024 each, also as `MB` or `MiB`.
    fn from_str(text: &str) -> Result<MemorySize, BadMemorySize> {
        let text = text.trim().to_ascii_lowercase();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: usize = number.parse().map_err(|_| BadMemorySize::Form)?;
        let kib = match unit.trim() {
            "k" | "kb" | "kib" => 1,
            "m" | "mb" | "mib" => 1 << 10,
            "g" | "gb" | "gib" => 1 << 20,
            _ => return Err(BadMemorySize::Form),
        };
        let size = MemorySize(number.saturating_mul(kib));
        if size.0 < MemorySize::LEAST.0 {
            return Err(BadMemorySize::TooSmall);
        }
        Ok(size.between())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_and_a_least() {
        for (text, shown) in [
            ("256M", "256M"),
            ("1G", "1G"),
            (" 2048 mib", "2G"),
            ("20000K", "20000K"),
            ("16MB", "16M"),
        ] {
            let size: MemorySize = text.parse().expect(text);
            assert_eq!(size.to_string(), shown);
        }
        for text in ["", "256", "M", "1.5G", "-1G", "1T", "lots"] {
            assert_eq!(text.parse::<MemorySize>(), Err(BadMemorySize::Form), "{text}");
        }
        assert_eq!("15M".parse::<MemorySize>(), Err(BadMemorySize::TooSmall));
        let most = "99999999999G".parse::<MemorySize>();
        assert_eq!(most, Ok(MemorySize::MOST));
    }

    #[test]
    fn default_is_at_most_128_mib() {
        let size = MemorySize::for_this_process();
        assert!((MemorySize::LEAST.0..=DEFAULT >> 10).contains(&size.0), "{size}");
    }
}
