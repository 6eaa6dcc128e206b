//! The line of a program that asked for an op. Gradient rules and optimisers call ops too; what they ask for is put
//! down to the line that they work for.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;

/// The line that asked for an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Caller {
    /// The call.
    pub location: &'static Location<'static>,
    /// Whether the op is part of the gradient of what was called there.
    pub backward: bool,
}

impl Caller {
    /// The line itself.
    pub(crate) fn forward(location: &'static Location<'static>) -> Self {
        Caller { location, backward: false }
    }

    /// The gradient of what was called in the line.
    pub(crate) fn backward(location: &'static Location<'static>) -> Self {
        Caller { location, backward: true }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let back = if self.backward { " (backward)" } else { "" };
        write!(f, "{}:{}{back}", self.location.file(), self.location.line())
    }
}

thread_local! {
    static ON_BEHALF_OF: Cell<Option<Caller>> = const { Cell::new(None) };
}

/// Runs `f`; the ops that it asks for are put down to `caller`.
pub(crate) fn on_behalf_of<T>(caller: Caller, f: impl FnOnce() -> T) -> T {
    struct Guard(Option<Caller>);
    impl Drop for Guard {
        fn drop(&mut self) {
            ON_BEHALF_OF.set(self.0);
        }
    }
    let _guard = Guard(ON_BEHALF_OF.replace(Some(caller)));
    f()
}

/// To whom an op asked for at `location` is put down.
pub(crate) fn of(location: &'static Location<'static>) -> Caller {
    ON_BEHALF_OF.get().unwrap_or(Caller::forward(location))
}
