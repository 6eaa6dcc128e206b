//! Weights from NumPy's files, and parts of files: what is right is loaded, what is not is refused.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use recurve::checkpoint::{CheckpointError, NpyArray};
use recurve::nn::{BatchNorm2d, Conv2d, Linear};
use recurve::params::Match;
use recurve::{Device, Error, Init, Params};
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/numpy").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// The model whose weights the files hold, with `classes` instead of 4.
fn model(seed: u64, classes: usize) -> Params {
    let p = Params::new(&Device::cpu(), seed);
    Conv2d::new(&p.at("conv"), 1, 3, 3, Default::default());
    BatchNorm2d::new(&p.at("bn"), 3, Default::default());
    Linear::new(&p.at("fc"), 48, classes);
    p
}

fn contents(p: &Params) -> Vec<u8> {
    pollster::block_on(p.to_bytes()).unwrap()
}

fn refused<T: std::fmt::Debug>(result: recurve::Result<T>) -> CheckpointError {
    match result {
        Err(Error::Checkpoint(error)) => (*error).clone(),
        other => panic!("loaded what is not right: {other:?}"),
    }
}

#[test]
fn archives_give_the_same_weights_as_safetensors() {
    let same = model(1, 4);
    same.load(path("same.safetensors")).unwrap();
    assert_eq!(same.counters()[0].get(), 7);
    assert_eq!(same.get("bn.running_var").unwrap().tensor().to_vec().unwrap(), [4.0, 5.0, 6.0]);
    for file in ["stored.npz", "deflated.npz"] {
        let p = model(2, 4);
        assert_eq!(p.load_npz(path(file), Match::Strict).unwrap(), Default::default());
        assert!(contents(&p) == contents(&same), "{file}");
        let p = model(3, 4);
        p.load_npz_bytes(&bytes(file), Match::Strict).unwrap();
        assert!(contents(&p) == contents(&same), "{file}");
    }
}

#[test]
fn archives_report_what_is_missing_unexpected_and_misshapen() {
    let p = model(1, 5);
    p.root().param("extra", [2], Init::Ones);
    let before = contents(&p);
    for how in [Match::Strict, Match::Partial] {
        let e = refused(p.load_npz(path("stored.npz"), how));
        let CheckpointError::Mismatch { missing, misshapen, .. } = &e else { panic!("{e}") };
        assert_eq!(missing, &["extra"]);
        assert_eq!(misshapen.len(), 2, "{e}");
        assert!(misshapen[0].contains("fc.weight is [4, 48] in the file, [5, 48] in the model"), "{e}");
    }
    assert!(contents(&p) == before, "a refused file changed something");
    let p = Params::new(&Device::cpu(), 0);
    BatchNorm2d::new(&p.at("bn"), 3, Default::default());
    let e = refused(p.load_npz(path("stored.npz"), Match::Strict));
    let CheckpointError::Mismatch { unexpected, .. } = &e else { panic!("{e}") };
    assert_eq!(unexpected, &["conv.bias", "conv.weight", "fc.bias", "fc.weight"]);
    assert_eq!(p.load_npz(path("stored.npz"), Match::Partial).unwrap().unexpected, *unexpected);
    assert_eq!(p.get("bn.weight").unwrap().tensor().to_vec().unwrap(), [1.5, 0.25, -3.0]);
}

#[test]
fn a_filter_takes_its_tensors_and_leaves_the_others() {
    let source = model(1, 4);
    let body = |name: &str| !name.starts_with("fc.");
    // Another head: of other shape in the model, and not asked for.
    let p = model(2, 7);
    let head = p.get("fc.weight").unwrap().tensor().to_vec().unwrap();
    let mut names = p.load_bytes_where(&contents(&source), body).unwrap();
    names.sort();
    let all =
        ["bias", "num_batches_tracked", "running_mean", "running_var", "weight"].map(|n| format!("bn.{n}"));
    assert_eq!(names, [&all[..], &["conv.bias".into(), "conv.weight".into()]].concat());
    let value = |p: &Params, name: &str| p.get(name).unwrap().tensor().to_vec().unwrap();
    assert_eq!(value(&p, "conv.weight"), value(&source, "conv.weight"));
    assert_eq!(value(&p, "fc.weight"), head);
    // What the filter takes must be there, and nothing else that it takes.
    let e = refused(p.load_bytes_where(&contents(&source), |_| true));
    assert!(matches!(&e, CheckpointError::Mismatch { misshapen, .. } if misshapen.len() == 2), "{e}");
    p.root().param("conv.extra", [1], Init::Ones);
    let e = refused(p.load_bytes_where(&contents(&source), body));
    assert!(matches!(&e, CheckpointError::Mismatch { missing, .. } if missing == &["conv.extra"]), "{e}");
    let less = Params::new(&Device::cpu(), 0);
    Conv2d::new(&less.at("conv"), 1, 3, 3, Default::default());
    let e = refused(less.load_bytes_where(&contents(&source), body));
    assert!(matches!(&e, CheckpointError::Mismatch { unexpected, .. } if unexpected.len() == 5), "{e}");
    assert_eq!(less.load_where(path("same.safetensors"), |n| n == "conv.bias").unwrap(), ["conv.bias"]);
    assert_eq!(value(&less, "conv.bias"), [0.5, -1.25, 2.0]);
    assert_eq!(value(&less, "conv.weight"), value(&less, "conv.weight"));
}

#[test]
fn damaged_archives_are_refused_or_whole() {
    let same = model(1, 4);
    same.load(path("same.safetensors")).unwrap();
    let expected = contents(&same);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for file in ["stored.npz", "deflated.npz"] {
        let whole = bytes(file);
        let p = model(2, 4);
        for length in (0..whole.len()).step_by(7) {
            refused(p.load_npz_bytes(&whole[..length], Match::Strict));
        }
        let mut unnoticed = 0;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (rng.next_u32() % 8);
            // Times, versions and what a member's own header repeats may be anything; whatever is loaded is what was
            // written.
            if p.load_npz_bytes(&damaged, Match::Strict).is_ok() {
                unnoticed += 1;
                assert!(contents(&p) == expected, "{file}, byte {at}");
            }
        }
        // Nine members, each with 18 such bytes in the directory and a header of 50 with its name of up to 26.
        assert!(unnoticed < 9 * (18 + 50 + 26), "{unnoticed} bytes of {file} do not matter");
        for _ in 0..500 {
            let mut damaged = whole.clone();
            let (at, length) = (rng.next_u64() as usize % whole.len(), 1 + rng.next_u32() as usize % 40);
            let end = whole.len().min(at + length);
            rng.fill_bytes(&mut damaged[at..end]);
            let _ = p.load_npz_bytes(&damaged, Match::Strict);
        }
    }
}

#[test]
fn objects_are_never_unpickled() {
    let p = Params::new(&Device::cpu(), 0);
    p.root().param("w", [2], Init::Ones);
    let e = refused(p.load_npz(path("objects.npz"), Match::Strict));
    assert!(matches!(&e, CheckpointError::DType { dtype, .. } if dtype == "|O"), "{e}");
    let e =
        NpyArray::from_bytes("a", &npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", &[0; 16]));
    assert!(matches!(e, Err(CheckpointError::DType { .. })), "{e:?}");
}

/// An array with `header` as it stands.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\0".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

#[test]
fn arrays_are_read_in_every_order() {
    let array = NpyArray::from_path(path("fortran.npy")).unwrap();
    let values: Vec<f32> = (0..24).map(|v| v as f32).collect();
    assert_eq!(array, NpyArray { shape: vec![2, 3, 4], values });
    let two = |descr: &str, data: &[u8]| {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}\n");
        NpyArray::from_bytes("two", &npy(&header, data)).map(|a| a.values)
    };
    let numbers = [1.5f64, -0.375];
    assert_eq!(two("<f4", &numbers.map(|v| (v as f32).to_le_bytes()).concat()).unwrap(), [1.5, -0.375]);
    assert_eq!(two(">f8", &numbers.map(f64::to_be_bytes).concat()).unwrap(), [1.5, -0.375]);
    assert_eq!(two("<f2", &[0x00, 0x3e, 0x00, 0xb6]).unwrap(), [1.5, -0.375]);
    assert_eq!(two(">f2", &[0x3e, 0x00, 0xb6, 0x00]).unwrap(), [1.5, -0.375]);
    let version_2 = {
        let header = b"{'shape': (), 'fortran_order': True, 'descr': '<f4'}";
        let mut file = b"\x93NUMPY\x02\0".to_vec();
        file.extend((header.len() as u32).to_le_bytes());
        [&file[..], header, &7f32.to_le_bytes()].concat()
    };
    let one = NpyArray::from_bytes("one", &version_2).unwrap();
    assert_eq!((one.shape, one.values), (vec![], vec![7.0]));
    let none = NpyArray::from_bytes("none", &npy("{'descr':'<f4','fortran_order':True,'shape':(0,3)}", &[]));
    assert_eq!(none.unwrap(), NpyArray { shape: vec![0, 3], values: Vec::new() });
}

#[test]
fn every_lie_of_an_array_has_its_error() {
    let whole = bytes("fortran.npy");
    for length in 0..whole.len() {
        let e = NpyArray::from_bytes("cut", &whole[..length]).unwrap_err();
        assert!(matches!(e, CheckpointError::Array { .. }), "{length}: {e}");
    }
    let with = |header: &str| NpyArray::from_bytes("a", &npy(header, &[0; 8])).unwrap_err();
    for header in [
        "",
        "{",
        "{}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} and more",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'other': '<f4'}",
        "{'descr': '<f4', 'fortran_order': maybe, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 18446744073709551615)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2 2)}",
    ] {
        let e = with(header);
        assert!(matches!(e, CheckpointError::Array { .. }), "{header}: {e}");
    }
    for descr in ["'<c8'", "'<U2'", "'=f4'", "'<f3'", "'<V2'", "'<i4'", "[('a', '<f4'), ('b', '<f4')]"] {
        let e = with(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (2,)}}"));
        assert!(matches!(e, CheckpointError::DType { .. }), "{descr}: {e}");
    }
}
