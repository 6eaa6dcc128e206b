//! With batch normalisation a network learns at a learning rate at which it does not without.

#[path = "../../examples/batch_norm/race.rs"]
mod race;
#[path = "../../examples/batch_norm/sheets.rs"]
mod sheets;

use crate::{device, folder, mnist};
use race::LAYERS;

#[test]
fn it_trains_where_the_plain_network_stalls() {
    const STEPS: usize = 25;
    let dev = device();
    let run = |normed| race::run(&dev, &mnist().train, normed, 0.1, STEPS, 0).unwrap();
    let (plain, normed) = (run(false), run(true));
    let guessing = 10f64.ln();
    assert!(plain.outcome(STEPS) > 0.95 * guessing, "{}", plain.outcome(STEPS));
    assert!(normed.outcome(STEPS) < 0.6 * guessing, "{}", normed.outcome(STEPS));
    for (_, std) in normed.moments.iter().flatten() {
        assert!((std - 1.0).abs() < 0.2, "what a layer gets has standard deviation {std}");
    }
    // Without, each layer makes its input smaller: the last ones get next to nothing.
    let first = plain.moments[0];
    assert!(first[LAYERS - 1].1 < 0.3 * first[0].1, "{first:?}");
    let folder = folder("batch_norm");
    sheets::losses(&folder.join("losses.png"), &[plain.clone(), normed.clone()], STEPS).unwrap();
    sheets::activations(&folder.join("activations.png"), &plain, &normed, STEPS).unwrap();
}
