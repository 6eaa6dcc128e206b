//! The order that `topk` keeps: ties, signs of zero, infinities and NaNs, on every device.

use crate::devices;
use recurve::Device;

fn topk(dev: &Device, x: &[f32], k: usize) -> (Vec<f32>, Vec<u32>) {
    let (values, indices) = dev.tensor(x, [x.len()]).topk(k, 0);
    assert_eq!((values.shape(), indices.shape()), ([k].into(), [k].into()));
    (values.to_vec().unwrap(), indices.to_vec_u32().unwrap())
}

#[test]
fn equal_elements_come_in_the_order_of_their_indices() {
    for dev in devices() {
        assert_eq!(topk(&dev, &[1.0, 3.0, 3.0, 2.0, 3.0], 4), (vec![3.0, 3.0, 3.0, 2.0], vec![1, 2, 4, 3]));
        // Across lists that are sorted one by one.
        let x: Vec<f32> = (0..300).map(|i| (i % 7 / 6) as f32).collect();
        let ones: Vec<u32> = (0..300).filter(|i| i % 7 == 6).chain([0, 1]).collect();
        assert_eq!(topk(&dev, &x, 44).1, ones, "{}", dev.name());
        // No zero is above the other.
        let (values, indices) = topk(&dev, &[-1.0, -0.0, 0.0, -0.0], 3);
        assert_eq!(indices, [1, 2, 3], "{}", dev.name());
        let signs: Vec<bool> = values.iter().map(|v| v.is_sign_negative()).collect();
        assert_eq!(signs, [true, false, true], "{}", dev.name());
    }
}

#[test]
fn what_is_no_number_is_above_all() {
    for dev in devices() {
        let x =
            [1.0, f32::NEG_INFINITY, f32::NAN, f32::INFINITY, f32::MAX, -f32::NAN, f32::MIN, -1e-45, 1e-45];
        let (values, indices) = topk(&dev, &x, x.len());
        assert_eq!(indices, [2, 5, 3, 4, 0, 8, 7, 6, 1], "{}", dev.name());
        assert!(values[0].is_nan() && values[1].is_nan(), "{}", dev.name());
        assert_eq!(values[2..5], [f32::INFINITY, f32::MAX, 1.0], "{}", dev.name());
    }
}

#[test]
fn gradients_go_to_what_was_found() {
    for dev in devices() {
        let x = dev.tensor([1.0, 4.0, 2.0, 3.0, 3.0, 5.0], [2, 3]).requires_grad();
        let (values, _) = x.topk(2, 1);
        let weights = dev.tensor([10.0, 20.0, 30.0, 40.0], [2, 2]);
        let gradients = values.mul(&weights).sum(&[0, 1]).backward();
        let dx = gradients.wrt(&x).unwrap().to_vec().unwrap();
        assert_eq!(dx, [0.0, 10.0, 20.0, 40.0, 0.0, 30.0], "{}", dev.name());
    }
}

#[test]
#[should_panic(expected = "at least 4 elements along axis 1")]
fn more_than_there_are_cannot_be_had() {
    let _ = Device::cpu().full(0.0, [2, 3]).topk(4, 1);
}
