//! A network that knows some digits learns others from few pictures, better than one from scratch.

#[path = "../../examples/transfer/digits.rs"]
mod digits;
#[path = "../../examples/transfer/sheet.rs"]
mod sheet;
#[path = "../../examples/transfer/study.rs"]
mod study;

use crate::{device, folder, mnist};
use digits::half;
use study::{Start, Study};

#[test]
fn halves_are_relabelled() {
    let set = half(&mnist().train, 5, 40);
    assert_eq!(set.len(), 40);
    let original = (0..).filter(|&i| mnist().train.labels()[i] >= 5).take(40);
    for (i, from) in original.enumerate() {
        assert_eq!(set.labels()[i] + 5, mnist().train.labels()[from]);
        assert_eq!(set.image(i), mnist().train.image(from));
    }
}

#[test]
fn what_was_learned_from_some_digits_helps_with_others() {
    let (dev, folder) = (device(), folder("transfer"));
    let weights = folder.join("weights.safetensors");
    let (many, known) = (half(&mnist().train, 0, 20_000), half(&mnist().test, 0, 250));
    let config = study::config(3, 8);
    let known = study::pretrain(&dev, &config, &many, &known, 150, 0, &weights).unwrap();
    assert!(known > 90.0, "{known} % of the digits it was trained on");
    let (few, test) = (half(&mnist().train, 5, 50), half(&mnist().test, 5, 250));
    let study =
        Study { dev: &dev, config: &config, weights: &weights, few: &few, test: &test, steps: 40, seed: 0 };
    let all = Start::ALL.map(|start| study.learn(start, 50).unwrap());
    let [scratch, tuned, frozen] = [&all[0], &all[1], &all[2]].map(|r| r.accuracy);
    assert!(tuned > scratch + 5.0, "{scratch} % from scratch, {tuned} % fine-tuned");
    assert!(frozen > scratch, "{scratch} % from scratch, {frozen} % with only a new head");
    sheet::results(&folder.join("transfer.png"), &[all.to_vec()]).unwrap();
}
