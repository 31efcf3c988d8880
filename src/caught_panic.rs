//! Panics of third-party code on damaged data: they are errors of the data, and nothing is printed about them.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Whether a panic of this thread is caught and reported as an error.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`. A panic in it becomes an error with its message.
///
/// `work` must not leave values of its caller half changed.
///
/// # Errors
///
/// Returns the message of the panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = IS_CAUGHT.replace(true);
    let ended = catch_unwind(AssertUnwindSafe(work));
    IS_CAUGHT.set(before);
    ended.map_err(|payload| message(payload.as_ref()).to_owned())
}

/// Whether a panic that happens now in this thread is caught by [`caught`]. The panic hook then prints nothing.
pub(crate) fn is_caught() -> bool {
    IS_CAUGHT.get()
}

/// The message of a panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_becomes_an_error_with_its_message() {
        assert_eq!(caught(|| 3), Ok(3));
        let number = 4;
        assert_eq!(
            caught(|| panic!("page {number}")),
            Err::<(), _>("page 4".to_owned())
        );
        assert!(!is_caught());
        let nested = caught(|| (caught(|| panic!("inner")), is_caught()));
        assert_eq!(nested, Ok((Err::<(), _>("inner".to_owned()), true)));
    }
}
