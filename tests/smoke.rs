//! One tiny test per feature: the first thing to run when something breaks.

mod support;

use support::devices;

#[test]
fn a_chain_and_its_gradient() {
    for dev in devices() {
        let x = dev.tensor([1.0, -2.0, 3.0], [3]).requires_grad();
        let y = dev.tensor([4.0, 5.0, 6.0], [3]);
        for _ in 0..3 {
            let z = x.mul(&y).relu().mul_scalar(2.0).add(&y);
            assert_eq!(z.to_vec().unwrap(), [12.0, 5.0, 42.0], "{dev:?}");
            let g = z.backward_with(&dev.tensor([1.0, 1.0, 1.0], [3])).wrt(&x).unwrap();
            assert_eq!(g.to_vec().unwrap(), [8.0, 0.0, 12.0], "{dev:?}");
        }
        let before = dev.counters();
        let z = x.mul(&y).relu().mul_scalar(3.0).add(&y);
        assert_eq!(z.to_vec().unwrap(), [16.0, 5.0, 60.0], "{dev:?}");
        println!("{}{:?}", dev.explain(), dev.counters());
        assert_eq!(dev.counters().objects(), before.objects());
    }
}

#[test]
fn a_held_value_survives_replays() {
    for dev in devices() {
        let mut held = Vec::new();
        for i in 0..20 {
            let x = dev.tensor(vec![i as f32; 1000], [1000]);
            held.push(x.add_scalar(1.0).exp().log());
            dev.run().unwrap();
        }
        for (i, t) in held.iter().enumerate() {
            let v = t.to_vec().unwrap();
            assert!((v[999] - (i as f32 + 1.0)).abs() < 1e-4, "{dev:?} {i} {}", v[999]);
        }
    }
}
