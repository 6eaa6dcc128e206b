//! Moving pictures by whole pixels.

use recurve::data::Dataset;

/// `planes` `[C, height, width]` moved down and to the right; what comes in is 0, what leaves is gone.
pub fn moved(planes: &[f32], (height, width): (usize, usize), (down, right): (i32, i32)) -> Vec<f32> {
    let mut result = vec![0.0; planes.len()];
    let size = height * width;
    for (to, from) in result.chunks_exact_mut(size).zip(planes.chunks_exact(size)) {
        for y in (0..height).filter(|y| (0..height as i32).contains(&(*y as i32 - down))) {
            for x in (0..width).filter(|x| (0..width as i32).contains(&(*x as i32 - right))) {
                let source = (y as i32 - down) as usize * width + (x as i32 - right) as usize;
                to[y * width + x] = from[source];
            }
        }
    }
    result
}

/// Digits of 28×28 in the middle of `side`×`side`, moved down and to the right.
pub fn on_canvas(digits: &Dataset, side: usize, (down, right): (i32, i32)) -> Dataset {
    let rim = (side as i32 - 28) / 2;
    assert!(rim >= down.abs() && rim >= right.abs(), "digits moved by ({down}, {right}) leave {side}x{side}");
    let mut images = vec![0; digits.len() * side * side];
    for (i, canvas) in images.chunks_exact_mut(side * side).enumerate() {
        for (y, row) in digits.image(i).chunks_exact(28).enumerate() {
            let at = (y as i32 + rim + down) as usize * side + (rim + right) as usize;
            canvas[at..at + 28].copy_from_slice(row);
        }
    }
    Dataset::new(images, &[1, side, side], digits.labels().to_vec())
}
