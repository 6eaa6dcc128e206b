//! Training that is killed at any moment goes on bit for bit: the example's loop in a child process, SIGKILL, resumption.

// The example uses more of these.
#[allow(dead_code)]
#[path = "../../examples/cifar/data.rs"]
mod data;
#[path = "../../examples/support/mod.rs"]
mod support;
#[allow(dead_code)]
#[path = "../../examples/cifar/train.rs"]
mod train;

use data::Data;
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use recurve::data::{IdxArray, mnist};
use recurve::models::ResNetConfig;
use recurve::{Device, Pick};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use train::{Ended, Plan, Training};

/// Children that are killed.
const KILLS: usize = 20;
/// The folder of a child's run; a process with this variable is a child.
const FOLDER: &str = "RECURVE_TEST_KILLED";

/// The first 160 test digits of MNIST to learn from, the next 40 to test on.
fn digits() -> Data {
    let file = |name: &str, rank| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/mnist-data");
        IdxArray::from_path(folder.join(name), rank).unwrap()
    };
    let all =
        mnist::digits(file("t10k-images-idx3-ubyte.gz", 3), file("t10k-labels-idx1-ubyte.gz", 1)).unwrap();
    let classes = vec!["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    Data { train: all.first(160), test: all.subset(160..200), normalize: mnist::normalize(), classes }
}

/// Everything that a resumption has to restore is on: augmentation, batches ahead, momentum, averages, schedule, running
/// statistics. Epochs have 20 steps, so that checkpoints come at their ends as well as within.
fn plan() -> Plan {
    Plan {
        epochs: 6,
        batch: 8,
        lr: 0.05,
        weight_decay: 1e-3,
        label_smoothing: 0.1,
        mixup: 0.3,
        ema: 0.9,
        flip: true,
        seed: 7,
        save_every: 4,
        test_every: 2,
        log: false,
    }
}

fn train(out: &Path) {
    let dev = Device::open_blocking(Pick::Best).expect("a device");
    let data = digits();
    // One residual block of four channels.
    let config = ResNetConfig {
        layers: vec![1],
        stem_channels: 4,
        channels: 4,
        in_channels: 1,
        ..ResNetConfig::cifar(8)
    };
    let mut training = Training::new(&dev, plan(), config, &data, out, true).unwrap();
    assert_eq!(training.run().unwrap(), Ended::Finished);
}

/// Not a test of its own: what a child process runs.
#[test]
fn child() {
    if let Some(out) = std::env::var_os(FOLDER) {
        train(Path::new(&out));
    }
}

fn start(out: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(FOLDER, out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("killed").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// When the checkpoint was written that is there now.
fn written(out: &Path) -> Option<SystemTime> {
    out.join("checkpoint.safetensors").metadata().and_then(|m| m.modified()).ok()
}

/// The step of the checkpoint, which is whole at any moment; 0 without one.
fn standing(out: &Path) -> u64 {
    let path = out.join("checkpoint.safetensors");
    if path.exists() { recurve::checkpoint::read_progress(path).expect("a whole checkpoint").step } else { 0 }
}

/// Waits until the child has written `checkpoints` more and then for `delay`; false when it ended before.
fn wait(child: &mut Child, out: &Path, checkpoints: u32, delay: Duration) -> bool {
    let (mut seen, mut count, mut since) = (written(out), 0, Instant::now());
    while count < checkpoints || since.elapsed() < delay {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "a child ended by itself with {status}");
            return false;
        }
        let now = written(out);
        if now != seen {
            (seen, count) = (now, count + 1);
            if count == checkpoints {
                since = Instant::now();
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

#[test]
fn a_run_that_is_killed_twenty_times_is_the_undisturbed_run() {
    let (whole, broken) = (folder("whole"), folder("broken"));
    let undisturbed = start(&whole).wait().unwrap();
    assert!(undisturbed.success(), "the undisturbed run ended with {undisturbed}");
    let files =
        |out: &Path| ["loss.csv", "checkpoint.safetensors"].map(|f| std::fs::read(out.join(f)).unwrap());
    let expected = files(&whole);
    let log = String::from_utf8(expected[0].clone()).unwrap();
    assert_eq!(log.lines().count(), 1 + 120, "a row for each of 120 steps");
    let mut rows = log.lines().skip(1).enumerate();
    assert!(
        rows.all(|(i, row)| row.starts_with(&format!("{},", i + 1))),
        "the rows are those of steps 1 to 120"
    );

    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let (mut kills, mut resumed, mut reached) = (0, 0, 0);
    while kills < KILLS {
        let mut child = start(&broken);
        // Some die before they have got anywhere, the others in the middle of their work.
        let checkpoints = rng.next_u32() % 4;
        let most = if checkpoints == 0 { 800 } else { 60 };
        let delay = Duration::from_millis(u64::from(rng.next_u32() % most));
        if !wait(&mut child, &broken, checkpoints, delay) {
            // A fast machine is done before that: this run counts, and another one begins.
            assert!(files(&broken) == expected, "after {kills} kills the finished run is another one");
            folder("broken");
            reached = 0;
            continue;
        }
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            continue;
        }
        kills += 1;
        resumed += usize::from(reached > 0);
        // Nobody starts from the beginning again, and the log has every row that the checkpoint counts.
        let step = standing(&broken);
        assert!(step >= reached, "kill {kills}: the checkpoint went back from step {reached} to {step}");
        reached = step;
        let rows =
            std::fs::read_to_string(broken.join("loss.csv")).unwrap_or_default().lines().count() as u64;
        assert!(rows > step || step == 0, "kill {kills}: {rows} lines of the log at step {step}");
    }
    assert!(resumed > 0, "some were killed after they had taken up a checkpoint");
    let last = start(&broken).wait().unwrap();
    assert!(last.success(), "the last run ended with {last}");
    let found = files(&broken);
    assert_eq!(String::from_utf8_lossy(&found[0]), log, "the losses are those of the undisturbed run");
    assert!(found[1] == expected[1], "weights, averages or state differ");
}
