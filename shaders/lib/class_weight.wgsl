// Weights of classes and of rows of a loss. The including kernel declares SOFT, WEIGHTED, p (c) and weight.

const IGNORED: u32 = 0xffffffffu;

// The weight of class `c` as such.
fn weight_of(c: u32) -> f32 {
    if (WEIGHTED) {
        return weight[min(c, p.c - 1u)];
    }
    return 1.0;
}

// What the row counts in the divisor of a mean.
fn row_weight(label: u32) -> f32 {
    if (SOFT) {
        return 1.0;
    }
    if (label == IGNORED) {
        return 0.0;
    }
    return weight_of(label);
}
