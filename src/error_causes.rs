//! The chain of causes of an error.

use std::error::Error;
use std::io;
use std::iter::successors;

/// The error and its causes, from the outermost on. The error inside an I/O error is one of them: `source` leaves it out.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let io = error.downcast_ref::<io::Error>();
    match io.and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// The first I/O error of the operating system among the causes.
pub(crate) fn os_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut errors = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    errors.find(|error| error.raw_os_error().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_include_the_error_inside_an_io_error() {
        let inner = io::Error::from_raw_os_error(24);
        let outer = io::Error::other(io::Error::other(inner));
        assert_eq!(causes(&outer).count(), 3);
        let found = os_error(&outer).and_then(io::Error::raw_os_error);
        assert_eq!(found, Some(24));
        assert!(os_error(&io::Error::other("no code")).is_none());
    }
}
