//! Checkpoints: training goes on with the same bits, files are whole or refused, and nobody can make loading panic.

mod support;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use recurve::checkpoint::{self, CheckpointError, Progress};
use recurve::data::LoaderState;
use recurve::nn::{BatchNorm2d, Conv2d, Dropout, Linear, Mode};
use recurve::ops::conv2d::Conv2dConfig;
use recurve::{Adam, AdamConfig, Clip, Device, Error, Optimizer, Params, Sgd, SgdConfig, Tensor};
use std::path::PathBuf;

struct Net {
    conv: Conv2d,
    bn: BatchNorm2d,
    dropout: Dropout,
    fc: Linear,
}

impl Net {
    fn new(p: &Params) -> Net {
        let root = p.root();
        Net {
            conv: Conv2d::new(
                &root.at("conv"),
                1,
                3,
                3,
                Conv2dConfig { padding: 1.into(), ..Default::default() },
            ),
            bn: BatchNorm2d::new(&root.at("bn"), 3, Default::default()),
            dropout: Dropout::new(&root, 0.25),
            fc: Linear::new(&root.at("fc"), 3 * 16, 4),
        }
    }

    fn loss(&self, x: &Tensor, y: &Tensor) -> Tensor {
        let h = self.bn.forward(&self.conv.forward(x), Mode::Train).relu();
        self.fc.forward(&self.dropout.forward(&h, Mode::Train).flatten(1)).cross_entropy(y)
    }
}

fn batch(dev: &Device, step: u64) -> (Tensor, Tensor) {
    let mut rng = ChaCha8Rng::seed_from_u64(step);
    let x: Vec<f32> = (0..5 * 16).map(|_| (rng.next_u32() as f32 / u32::MAX as f32) - 0.5).collect();
    let y: Vec<i64> = (0..5).map(|_| i64::from(rng.next_u32() % 4)).collect();
    (dev.tensor(x, [5, 1, 4, 4]), dev.labels(y))
}

fn train<R: recurve::optim::Rule>(
    net: &Net,
    opt: &mut Optimizer<R>,
    dev: &Device,
    steps: std::ops::Range<u64>,
) -> Vec<u32> {
    let step = |s| {
        let (x, y) = batch(dev, s);
        let loss = net.loss(&x, &y);
        opt.step(&loss.backward()).unwrap();
        loss.item().unwrap().to_bits()
    };
    steps.map(step).collect()
}

fn adam(p: &Params) -> Adam {
    let mut opt = Adam::new(p, AdamConfig { lr: 0.01, amsgrad: true, ..Default::default() });
    opt.set_clip(Some(Clip::Norm { max_norm: 1.0, norm_type: 2.0 }));
    opt
}

fn progress() -> Progress {
    let notes = [("best", "98.7 %"), ("name", "a \"quoted\" Ünicode\nname")];
    Progress {
        step: 4,
        loader: Some(LoaderState { seed: u64::MAX, samples: 60_000, epoch: 3, next: 640 }),
        notes: notes.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("recurve-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn training_goes_on_with_the_same_bits() {
    let folder = Folder::new("resume");
    let path = folder.0.join("a.safetensors");
    for dev in support::devices() {
        let p = Params::new(&dev, 1);
        let net = Net::new(&p);
        let mut opt = adam(&p);
        train(&net, &mut opt, &dev, 0..4);
        checkpoint::save(&path, &p, &opt, &progress()).unwrap();
        let want = train(&net, &mut opt, &dev, 4..9);

        let q = Params::new(&dev, 1);
        let other = Net::new(&q);
        let mut resumed = adam(&q);
        // What the second run did before must not matter.
        train(&other, &mut resumed, &dev, 50..52);
        assert_eq!(checkpoint::load(&path, &q, &mut resumed).unwrap(), progress());
        assert_eq!(train(&other, &mut resumed, &dev, 4..9), want, "{dev:?}");
        let all = |p: &Params, o| pollster::block_on(checkpoint::to_bytes(p, o, &progress())).unwrap();
        assert!(all(&p, &opt) == all(&q, &resumed), "{dev:?}: weights, state or counters differ");
        // The weights alone can be loaded from the same file.
        let weights = Params::new(&dev, 9);
        Net::new(&weights);
        weights.load(&path).unwrap();
    }
}

#[test]
fn a_checkpoint_before_the_first_step() {
    let dev = Device::cpu();
    let (p, q) = (Params::new(&dev, 1), Params::new(&dev, 2));
    let (a, b) = (Net::new(&p), Net::new(&q));
    let (mut one, mut two) = (adam(&p), adam(&q));
    let bytes = pollster::block_on(checkpoint::to_bytes(&p, &one, &Progress::default())).unwrap();
    let want = train(&a, &mut one, &dev, 0..3);
    // Another seed's model, trained before: nothing of it stays.
    train(&b, &mut two, &dev, 7..9);
    checkpoint::load_bytes(&bytes, &q, &mut two).unwrap();
    assert_eq!(train(&b, &mut two, &dev, 0..3), want);
}

/// A model, its optimiser and its checkpoint.
fn saved() -> (Params, Net, Adam, Vec<u8>) {
    let dev = Device::cpu();
    let p = Params::new(&dev, 1);
    let net = Net::new(&p);
    let mut opt = adam(&p);
    train(&net, &mut opt, &dev, 0..2);
    let bytes = pollster::block_on(checkpoint::to_bytes(&p, &opt, &progress())).unwrap();
    (p, net, opt, bytes)
}

fn refused(bytes: &[u8], p: &Params, opt: &mut Adam) -> CheckpointError {
    match checkpoint::load_bytes(bytes, p, opt) {
        Err(Error::Checkpoint(error)) => (*error).clone(),
        other => panic!("loaded what is damaged: {other:?}"),
    }
}

#[test]
fn damaged_files_are_refused_and_change_nothing() {
    let (p, _, mut opt, bytes) = saved();
    let now = |p: &Params, o: &Adam| pollster::block_on(checkpoint::to_bytes(p, o, &progress())).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for len in (0..bytes.len()).step_by(97).chain([0, 7, 8, 9, 8 + header, bytes.len() - 1]) {
        refused(&bytes[..len], &p, &mut opt);
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(refused(&longer, &p, &mut opt), CheckpointError::Length { .. }));

    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for round in 0..1500 {
        // The length, the header and the payload get their share each.
        let range = [0..8, 8..8 + header, 8 + header..bytes.len()][round % 3].clone();
        let at = range.start + rng.next_u64() as usize % range.len();
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (rng.next_u32() % 8);
        let error = refused(&bad, &p, &mut opt);
        assert!(round % 3 != 2 || matches!(error, CheckpointError::Hash { .. }), "byte {at}: {error}");
    }
    for _ in 0..300 {
        // Bursts of noise.
        let (at, len) = (rng.next_u64() as usize % bytes.len(), 1 + rng.next_u32() as usize % 40);
        let mut bad = bytes.clone();
        let end = bad.len().min(at + len);
        rng.fill_bytes(&mut bad[at..end]);
        if bad != bytes {
            let _ = refused(&bad, &p, &mut opt);
        }
    }
    assert!(now(&p, &opt) == bytes, "a refused file changed something");
}

/// A file with `header` and `payload` zeros.
fn file(header: &str, payload: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + payload, 0);
    bytes
}

#[test]
fn hostile_headers_are_refused_by_name() {
    let (p, _, mut opt, _) = saved();
    let mut huge = u64::MAX.to_le_bytes().to_vec();
    huge.resize(64, b' ');
    assert!(matches!(refused(&huge, &p, &mut opt), CheckpointError::HeaderTooLarge { .. }));
    let mut absurd = 99_999_999u64.to_le_bytes().to_vec();
    absurd.resize(64, b' ');
    assert!(matches!(refused(&absurd, &p, &mut opt), CheckpointError::Length { .. }));
    let info = |shape: &str, from: u64, to: u64| {
        format!(r#"{{"fc.bias":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}}}"#)
    };
    let headers = [
        ("", 0),
        ("null", 0),
        ("[]", 0),
        ("{", 0),
        (&info("[4]", 0, 12), 16),
        (&info("[4]", 4, 20), 20),
        (&info("[4]", 16, 0), 16),
        (&info("[18446744073709551615,2]", 0, 16), 16),
        (&info("[4294967296,4294967296,4]", 0, 0), 0),
        (&info("[-4]", 0, 16), 16),
        (r#"{"fc.bias":{"dtype":"F33","shape":[4],"data_offsets":[0,16]}}"#, 16),
        (r#"{"__metadata__":{"recurve":7}}"#, 0),
    ];
    for (header, payload) in headers {
        let error = refused(&file(header, payload), &p, &mut opt);
        assert!(matches!(error, CheckpointError::Header { .. }), "{header}: {error}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(refused(&file(&deep, 0), &p, &mut opt), CheckpointError::Header { .. }));
    let error = refused(&file(&info("[1000000000000]", 0, 4_000_000_000_000), 16), &p, &mut opt);
    assert!(matches!(error, CheckpointError::Length { .. }), "{error}");
    let error = refused(&file(&info("[4]", 0, 16), 16), &p, &mut opt);
    assert!(matches!(error, CheckpointError::NotACheckpoint), "{error}");
    for state in ["", "{}", "{\\\"format\\\":1}", "[1]"] {
        let header = format!(r#"{{"__metadata__":{{"recurve":"{state}"}}}}"#);
        let error = refused(&file(&header, 0), &p, &mut opt);
        assert!(matches!(error, CheckpointError::State { .. }), "{state}: {error}");
    }
    let header = r#"{"__metadata__":{"recurve":"{\"format\":99}"}}"#;
    assert!(matches!(refused(&file(header, 0), &p, &mut opt), CheckpointError::Format { found: 99, .. }));
}

#[test]
fn another_optimiser_or_model_is_refused() {
    let (_, _, _, bytes) = saved();
    let dev = Device::cpu();
    let p = Params::new(&dev, 1);
    Net::new(&p);
    let mut sgd = Sgd::new(&p, SgdConfig::default());
    let error = checkpoint::load_bytes(&bytes, &p, &mut sgd).unwrap_err().to_string();
    assert!(error.contains("state of adam, not of sgd"), "{error}");
    let mut plain = Adam::new(&p, AdamConfig::default());
    let error = checkpoint::load_bytes(&bytes, &p, &mut plain).unwrap_err().to_string();
    assert!(error.contains("optimizer/max_exp_avg_sq/fc.bias"), "{error}");
    let q = Params::new(&dev, 1);
    Net::new(&q);
    q.root().param("extra", [1], recurve::Init::Zeros);
    let error = checkpoint::load_bytes(&bytes, &q, &mut adam(&q)).unwrap_err().to_string();
    assert!(error.contains("missing [\"extra\"]"), "{error}");
}

#[test]
fn weights_that_are_not_numbers_survive() {
    let (p, _, mut opt, _) = saved();
    let bits = [0x7fc0_1234u32, 0xff80_0000, 0x8000_0000, 1];
    let bias = p.get("fc.bias").unwrap();
    bias.set(&bits.map(f32::from_bits)).unwrap();
    let bytes = pollster::block_on(checkpoint::to_bytes(&p, &opt, &progress())).unwrap();
    bias.set(&[0.0; 4]).unwrap();
    checkpoint::load_bytes(&bytes, &p, &mut opt).unwrap();
    let values = bias.tensor().to_vec().unwrap();
    assert!(values[0].is_nan());
    assert_eq!(values[1..].iter().map(|v| v.to_bits()).collect::<Vec<_>>(), bits[1..]);
}

#[test]
fn the_progress_can_be_read_alone() {
    let folder = Folder::new("progress");
    let path = folder.0.join("a.safetensors");
    let (p, _, opt, bytes) = saved();
    checkpoint::save(&path, &p, &opt, &progress()).unwrap();
    assert_eq!(checkpoint::read_progress(&path).unwrap(), progress());
    // A byte of the weights: what the file says of itself is no longer true.
    let mut damaged = bytes;
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let found = match checkpoint::read_progress(&path) {
        Err(Error::Checkpoint(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(*found, CheckpointError::Hash { .. }), "{found}");
    p.save(&path).unwrap();
    let found = checkpoint::read_progress(&path).unwrap_err().to_string();
    assert!(found.contains("not a checkpoint"), "{found}");
}

#[test]
fn an_interrupted_write_leaves_the_old_file() {
    let (p, _, mut opt, _) = saved();
    let folder = Folder::new("interrupted");
    let path = folder.0.join("latest.safetensors");
    checkpoint::save(&path, &p, &opt, &progress()).unwrap();
    let old = std::fs::read(&path).unwrap();
    // A process that was killed while it wrote has left a part of a file under the name that is used until it is whole.
    let partial = folder.0.join(".latest.safetensors.1-0.partial");
    std::fs::write(&partial, &old[..old.len() / 2]).unwrap();
    assert_eq!(checkpoint::load(&path, &p, &mut opt).unwrap(), progress());

    // The next save replaces the file, and leaves nothing of its own behind.
    let later = Progress { step: 5, ..progress() };
    checkpoint::save(&path, &p, &opt, &later).unwrap();
    assert_eq!(checkpoint::load(&path, &p, &mut opt).unwrap(), later);
    let mut names: Vec<_> = std::fs::read_dir(&folder.0).unwrap().map(|f| f.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".latest.safetensors.1-0.partial", "latest.safetensors"]);

    // A save that fails says so, and leaves the folder as it was.
    let error = checkpoint::save(folder.0.join("no/such/folder.safetensors"), &p, &opt, &later).unwrap_err();
    assert!(error.to_string().contains("no/such"), "{error}");
    let taken = folder.0.join("taken");
    std::fs::create_dir_all(taken.join("inside")).unwrap();
    assert!(checkpoint::save(&taken, &p, &opt, &later).is_err());
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 3);
}
