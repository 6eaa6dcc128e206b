//! Recurrent networks tell the speakers of JapaneseVowels apart, whatever fills their utterances up.

#[path = "../../examples/vowels/net.rs"]
mod net;
#[path = "../../examples/vowels/sheets.rs"]
mod sheets;
#[path = "../../examples/vowels/utterances.rs"]
mod utterances;

use crate::adapters::devices;
use crate::{device, folder};
use net::{Kind, Net};
use recurve::nn::Mode;
use recurve::{Params, no_grad};
use utterances::Utterances;

fn load() -> [Utterances; 2] {
    ["JapaneseVowels_TRAIN.ts.gz", "JapaneseVowels_TEST.ts.gz"].map(|name| Utterances::load(name).unwrap())
}

#[test]
fn a_plain_network_recognises_speakers() {
    let [train, test] = load();
    assert_eq!((train.len(), train.lengths()), (270, (7, 26)));
    assert_eq!((test.len(), test.lengths()), (370, (7, 29)));
    assert_eq!((test.set.channels, test.set.classes.len()), (12, 9));
    let dev = device();
    let params = Params::new(&dev, 0);
    let net = Net::new(&params, Kind::Rnn, 12, 9);
    let history = net::train(&params, &net, [&train, &test], 10, 0).unwrap();
    let right = history.test.last().copied().unwrap();
    // The most frequent speaker alone would give 24 %.
    assert!(right >= 85.0, "{right} % of the test utterances");
    let found = net::classes(&dev, &net, &test, &train.scale).unwrap();
    assert_eq!(net::accuracy(&test, &found), right);
    let counts = net::confusion(&test, &found);
    let on_diagonal: u32 = (0..9).map(|i| counts[10 * i]).sum();
    assert_eq!((counts.iter().sum::<u32>(), on_diagonal), (370, (3.7 * right).round() as u32));
    let folder = folder("vowels");
    sheets::utterance(&folder.join("utterance.png"), &test).unwrap();
    sheets::curves(&folder.join("curves.png"), &[(Kind::Rnn, history)]).unwrap();
}

#[test]
fn an_utterance_alone_gives_what_it_gives_in_a_batch() {
    let [train, _] = load();
    let some: Vec<usize> = (0..270).step_by(34).collect();
    for dev in devices() {
        for kind in Kind::ALL {
            let net = Net::new(&Params::new(&dev, 1), kind, 12, 9);
            let logits = |batch| no_grad(|| net.forward(&batch, Mode::Eval)).to_vec().unwrap();
            let together = logits(train.batch(&dev, &some, &train.scale, 31));
            let far = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            for (&index, row) in some.iter().zip(together.chunks_exact(9)) {
                let length = train.set.series[index].length;
                let alone = logits(train.batch(&dev, &[index], &train.scale, length));
                let difference = far(&alone, row);
                assert!(difference < 1e-5, "{}: {kind:?}, utterance {index}: {difference}", dev.name());
            }
            // Without the lengths, what fills up is heard.
            let mut batch = train.batch(&dev, &some, &train.scale, 31);
            batch.lengths.fill(31);
            let difference = far(&logits(batch), &together);
            assert!(difference > 1e-3, "{}: {kind:?}: {difference}", dev.name());
        }
    }
}
