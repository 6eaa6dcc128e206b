//! A convolution over time tells the activities of BasicMotions apart.

#[path = "../../examples/motions/net.rs"]
mod net;
#[path = "../../examples/motions/recordings.rs"]
mod recordings;
#[path = "../../examples/motions/sheets.rs"]
mod sheets;

use crate::{device, folder};
use net::Net;
use recordings::Recordings;
use recurve::Params;

#[test]
fn it_recognises_recordings_it_has_not_seen() {
    let (train, test) = (
        Recordings::load("BasicMotions_TRAIN.ts.gz").unwrap(),
        Recordings::load("BasicMotions_TEST.ts.gz").unwrap(),
    );
    assert_eq!((train.labels.len(), train.channels, train.length, train.classes.len()), (40, 6, 100, 4));
    for (i, values) in train.scaled(&train.scale).chunks(100).enumerate().take(6) {
        assert!(values.iter().all(|v| v.abs() < 20.0), "sensor {i}");
    }
    let dev = device();
    let params = Params::new(&dev, 0);
    let net = Net::new(&params, train.channels, train.classes.len());
    let history = net::train(&params, &net, &train, &test, 30).unwrap();
    let right = history.test.last().copied().unwrap();
    assert!(right >= 95.0, "{right} % of the test recordings");
    let predicted = net::classes(&dev, &net, &train.scale, &test).unwrap();
    let counts = net::confusion(&test, &predicted);
    assert_eq!(counts.iter().sum::<u32>(), 40);
    assert_eq!(net::accuracy(&dev, &net, &train.scale, &test).unwrap(), right);
    let folder = folder("motions");
    sheets::signals(&folder.join("signals.png"), &train).unwrap();
    sheets::curves(&folder.join("curves.png"), &history).unwrap();
    let weights = net.conv1.weight.tensor().to_vec().unwrap();
    sheets::kernels(&folder.join("kernels.png"), &weights, train.channels).unwrap();
}
