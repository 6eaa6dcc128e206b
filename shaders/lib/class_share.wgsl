// How much the logarithm of each class's probability counts in the cross-entropy of a row: the class's weight times
// its share in the target after smoothing. The including kernel declares SOFT, WEIGHTED, p (c, inner, smoothing),
// labels and weight.

//!include lib/class_weight.wgsl

// `line` is the row's offset in the logits, `label` its class where targets are classes.
fn share(line: u32, label: u32, c: u32) -> f32 {
    let even = p.smoothing / f32(p.c);
    if (SOFT) {
        let given = bitcast<f32>(labels[line + c * p.inner]);
        return weight_of(c) * ((1.0 - p.smoothing) * given + even);
    }
    if (label == IGNORED) {
        return 0.0;
    }
    if (label >= p.c) {
        // No class: the loss must not look right. Any word with these bits is NaN.
        return bitcast<f32>(0x7fc00000u | label);
    }
    return weight_of(c) * (select(0.0, 1.0 - p.smoothing, c == label) + even);
}
