//! Every op family has the sizes that break kernels among its fixed cases.

use recurve::Spec;
use recurve::op::Case;
use recurve::testing::specs;
use std::collections::BTreeMap;

/// Whether a case is of a kind, from its operands and results.
type Kind = fn(&[Spec]) -> bool;

const KINDS: [(&str, Kind); 4] = [
    ("without an element", |all| all.iter().any(|s| s.elements() == 0)),
    ("with a single element", |all| all[0].elements() == 1),
    ("of odd sizes", |all| all.iter().flat_map(|s| s.shape.dims()).any(|&d| d > 2 && d % 2 == 1)),
    ("larger than a tile", |all| all.iter().any(|s| s.elements() > 1024)),
];

/// Updates of parameters: every weight has an element, and an arena many.
const UPDATES: [&str; 1] = ["place_gradients"];

#[test]
fn every_family_has_cases_of_each_kind() {
    let mut families: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
    for (family, case) in crate::cases() {
        families.entry(family).or_default().push(case);
    }
    let mut missing = Vec::new();
    for (family, cases) in families.iter().filter(|(f, _)| !UPDATES.contains(f)) {
        let all = cases.iter().map(|case| {
            let (inputs, outputs) = specs(case);
            [inputs, outputs].concat()
        });
        let all: Vec<Vec<Spec>> = all.collect();
        for (name, kind) in KINDS {
            let count = all.iter().filter(|specs| kind(specs)).count();
            println!("{family}: {count} of {} {name}", cases.len());
            if count == 0 {
                missing.push(format!("{family} has no case {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
