//! How others are asked which kernels to take: in plain data, so that planning measures nothing itself.

use crate::kernel::Candidate;
use crate::op::{Op, Scalar};
use crate::shape::Spec;

/// Knows more about candidates than their order.
pub(crate) trait Choose {
    /// The candidate to take; `None` leaves it to the rule.
    fn choose(&self, question: &Question<'_>) -> Option<Choice>;
}

/// What is to be chosen for: an op on its shapes, with several candidates.
pub(crate) struct Question<'a> {
    pub op: &'a dyn Op,
    pub inputs: &'a [Spec],
    /// The scalars of the run that the plan is made for.
    pub scalars: Vec<Scalar>,
    /// Those that fit, best first, each variant once.
    pub candidates: Vec<&'a Candidate>,
    /// Which of them is the base variant.
    pub base: usize,
}

/// What was chosen, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Choice {
    /// Index among the question's candidates.
    pub taken: usize,
    /// What was found out about each of them.
    pub found: Vec<Found>,
}

/// What is known about a candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Found {
    /// The time that it takes.
    Microseconds(f64),
    /// It does not compute what the op's reference computes, or failed.
    Wrong,
}
