//! Shapes, element types and the rules that broadcasting follows.

use std::fmt;

/// The largest number of axes a tensor can have.
pub const MAX_RANK: usize = 6;

/// The sizes of a tensor's axes, outermost first (row-major). At most [`MAX_RANK`] axes; a scalar has none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// A shape from its sizes.
    ///
    /// # Panics
    /// When there are more than [`MAX_RANK`] axes, or so many elements that their bytes cannot be counted.
    #[track_caller]
    pub fn new(dims: &[usize]) -> Self {
        assert!(dims.len() <= MAX_RANK, "shape {dims:?} has {} axes, more than {MAX_RANK}", dims.len());
        assert!(countable(dims), "shape {dims:?} has too many elements");
        let mut all = [0; MAX_RANK];
        all[..dims.len()].copy_from_slice(dims);
        Shape { dims: all, rank: dims.len() }
    }

    /// A shape from its sizes, or `None` where [`new`](Shape::new) panics: for the sizes that a shape rule has
    /// derived.
    pub fn checked(dims: &[usize]) -> Option<Self> {
        (dims.len() <= MAX_RANK && countable(dims)).then(|| Shape::new(dims))
    }

    /// The shape of a scalar: no axes, one element.
    pub fn scalar() -> Self {
        Shape::default()
    }

    /// The sizes of the axes.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of elements (1 for a scalar, 0 when any axis is empty).
    pub fn elements(&self) -> usize {
        self.dims().iter().product()
    }

    /// Row-major strides in elements.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.rank];
        for axis in (1..self.rank).rev() {
            strides[axis - 1] = strides[axis] * self.dims[axis];
        }
        strides
    }

    /// Strides for reading this shape as if it had the shape `to`: 0 along broadcast axes.
    /// Axes are aligned at the end, as in NumPy. `None` when this shape does not broadcast to `to`.
    pub fn broadcast_strides(&self, to: Shape) -> Option<Vec<usize>> {
        let lead = to.rank.checked_sub(self.rank)?;
        let own = self.strides();
        let mut strides = vec![0; to.rank];
        for axis in 0..self.rank {
            match (self.dims[axis], to.dims[lead + axis]) {
                (1, _) => {}
                (a, b) if a == b => strides[lead + axis] = own[axis],
                _ => return None,
            }
        }
        Some(strides)
    }

    /// The common shape of two operands under NumPy's broadcasting rule, or `None` when there is none, or one with too
    /// many elements.
    pub fn broadcast(self, other: Shape) -> Option<Shape> {
        let rank = self.rank.max(other.rank);
        let mut dims = [0; MAX_RANK];
        for (axis, dim) in dims.iter_mut().enumerate().take(rank) {
            let size = |s: &Shape| (axis + s.rank).checked_sub(rank).map_or(1, |a| s.dims[a]);
            *dim = match (size(&self), size(&other)) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return None,
            };
        }
        countable(&dims[..rank]).then_some(Shape { dims, rank })
    }

    /// The same shape with axis `axis` set to `size`.
    pub fn with(mut self, axis: usize, size: usize) -> Shape {
        assert!(axis < self.rank, "axis {axis} of shape {self}");
        self.dims[axis] = size;
        assert!(countable(self.dims()), "shape {self} has too many elements");
        self
    }

    /// Product of the sizes of axes `from..to`.
    pub fn span(&self, from: usize, to: usize) -> usize {
        self.dims()[from..to].iter().product()
    }
}

/// Whether strides, elements and the reference's bytes of a tensor with these sizes can be counted, padding included.
fn countable(dims: &[usize]) -> bool {
    let elements = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
    elements.is_some_and(|n| n <= isize::MAX as usize / 8 - ALIGN as usize)
}

impl std::ops::Index<usize> for Shape {
    type Output = usize;
    fn index(&self, axis: usize) -> &usize {
        &self.dims()[axis]
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    #[track_caller]
    fn from(dims: [usize; N]) -> Self {
        Shape::new(&dims)
    }
}

impl From<&[usize]> for Shape {
    #[track_caller]
    fn from(dims: &[usize]) -> Self {
        Shape::new(dims)
    }
}

impl From<Vec<usize>> for Shape {
    #[track_caller]
    fn from(dims: Vec<usize>) -> Self {
        Shape::new(&dims)
    }
}

impl From<usize> for Shape {
    fn from(n: usize) -> Self {
        Shape::new(&[n])
    }
}

impl From<()> for Shape {
    fn from(_: ()) -> Self {
        Shape::scalar()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

/// What a tensor's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit floating point.
    F32,
    /// Unsigned 32-bit integer: labels, indices, results of `argmax`.
    U32,
}

/// Shape and element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// Sizes of the axes.
    pub shape: Shape,
    /// Type of the elements.
    pub dtype: DType,
}

impl Spec {
    /// A tensor of f32 values.
    #[track_caller]
    pub fn f32(shape: impl Into<Shape>) -> Self {
        Spec { shape: shape.into(), dtype: DType::F32 }
    }

    /// A tensor of u32 values.
    #[track_caller]
    pub fn u32(shape: impl Into<Shape>) -> Self {
        Spec { shape: shape.into(), dtype: DType::U32 }
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.elements()
    }

    /// Bytes of the elements alone.
    pub fn bytes(&self) -> u64 {
        4 * self.elements() as u64
    }

    /// Bytes that storage for this tensor takes on a GPU: a multiple of [`ALIGN`].
    pub fn padded_bytes(&self) -> u64 {
        self.bytes().next_multiple_of(ALIGN)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dtype {
            DType::F32 => write!(f, "f32{}", self.shape),
            DType::U32 => write!(f, "u32{}", self.shape),
        }
    }
}

/// Tensors start at multiples of this many bytes and are padded to it, so vector loads may run past a
/// tensor's end. It is WebGPU's default alignment of storage buffer offsets.
pub const ALIGN: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        let s = |d: &[usize]| Shape::new(d);
        assert_eq!(s(&[2, 3]).broadcast(s(&[3])), Some(s(&[2, 3])));
        assert_eq!(s(&[2, 1, 4]).broadcast(s(&[3, 1])), Some(s(&[2, 3, 4])));
        assert_eq!(s(&[0, 3]).broadcast(s(&[1, 3])), Some(s(&[0, 3])));
        assert_eq!(s(&[]).broadcast(s(&[5])), Some(s(&[5])));
        assert_eq!(s(&[2]).broadcast(s(&[3])), None);
        assert_eq!(s(&[1 << 15, 1 << 15, 1]).broadcast(s(&[usize::MAX >> 24])), None);
        assert_eq!(s(&[3, 1]).broadcast_strides(s(&[2, 3, 4])), Some(vec![0, 1, 0]));
        assert_eq!(s(&[2]).broadcast_strides(s(&[3])), None);
    }

    #[test]
    #[should_panic(expected = "too many elements")]
    fn sizes_whose_bytes_overflow_are_refused() {
        let _ = Shape::new(&[0, usize::MAX / 4, 2]);
    }

    #[test]
    fn strides_are_row_major() {
        assert_eq!(Shape::new(&[2, 3, 4]).strides(), [12, 4, 1]);
        assert_eq!(Shape::scalar().strides(), [0usize; 0]);
        assert_eq!(Shape::scalar().elements(), 1);
    }
}
