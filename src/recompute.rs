//! Activations that are computed again in the backward pass instead of being kept.
//!
//! Nodes know the segments that they were appended in. When the backward walk comes to a segment, it appends copies of
//! those of its nodes that lead there (the same ops, operands, scalars and seeds), and the gradient rules work on the
//! copies' values. Nobody needs the first ones any longer than the forward pass does, so the planner gives their memory to
//! others. A node in a segment within a segment is copied once for the outer one, which needs its results to come to the
//! end, and once more, from there, for the inner one.

use crate::caller::{Caller, on_behalf_of};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::shape::Spec;
use crate::tensor::{Flow, Tensor};
use crate::trace::{self, Node, Source};
use crate::variable::Variable;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The segments that a node lies in, outermost first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path(Option<Arc<[u64]>>);

impl Path {
    fn segments(&self) -> &[u64] {
        self.0.as_deref().unwrap_or(&[])
    }

    fn depth(&self) -> usize {
        self.segments().len()
    }

    /// How many segments both lie in.
    fn shared(&self, other: &Path) -> usize {
        self.segments().iter().zip(other.segments()).take_while(|(a, b)| a == b).count()
    }
}

thread_local! {
    static PRESENT: RefCell<Path> = RefCell::default();
}

/// The segments that this thread is in.
pub(crate) fn present() -> Path {
    PRESENT.with_borrow(Path::clone)
}

/// Runs `f` without keeping for gradients what it computes on the way: the backward pass computes it again from what `f`
/// takes from outside. That costs one more forward pass of `f` and saves the memory of everything in it but its results
/// (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016, arXiv 1604.06174; PyTorch's `checkpoint`).
///
/// Values and gradients are the same numbers as without it: dropout draws no new seeds, running statistics are not moved
/// a second time. What `f` has read of parameters and statistics must not change before the gradients are asked for: they
/// would be an [`Error::Updated`]. Calls may be nested. On hardware whose compilers join products and sums, what is
/// computed again may be rounded otherwise where it comes to lie in other kernels.
///
/// ```
/// use recurve::{Device, recompute};
/// let dev = Device::cpu();
/// let x = dev.tensor([0.5, -1.0], [2]).requires_grad();
/// let y = recompute(|| x.tanh().exp());
/// let gradient = y.sum(&[0]).backward().wrt(&x).unwrap();
/// assert_eq!(gradient.to_vec()?, x.tanh().exp().sum(&[0]).backward().wrt(&x).unwrap().to_vec()?);
/// # Ok::<(), recurve::Error>(())
/// ```
pub fn recompute<T>(f: impl FnOnce() -> T) -> T {
    struct Guard(Path);
    impl Drop for Guard {
        fn drop(&mut self) {
            PRESENT.set(std::mem::take(&mut self.0));
        }
    }
    let outer = present();
    let inner = outer.segments().iter().copied().chain([trace::next_id()]).collect();
    PRESENT.set(Path(Some(inner)));
    let _guard = Guard(outer);
    f()
}

/// The copies that one backward walk has made.
pub(crate) struct Copies<'a> {
    device: &'a Device,
    /// Results of a node's copy for the segment at a depth, counted from 1.
    made: HashMap<(u64, usize), Vec<Tensor>>,
    /// Updates that are pending: of which variables, and by which nodes. Looked up when they are needed first.
    updates: Option<Vec<(u64, Arc<Variable>)>>,
}

impl<'a> Copies<'a> {
    pub fn new(device: &'a Device) -> Self {
        Copies { device, made: HashMap::new(), updates: None }
    }

    /// Operands and results that the gradient rule of `node` is to work on: its own, or those of its copy.
    ///
    /// # Errors
    /// [`Error::Released`] when the graph is gone, [`Error::Updated`] when what is to be copied has read a variable that has
    /// changed since.
    pub fn of(&mut self, node: &Arc<Node>, sources: &[Source]) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let depth = node.path.depth();
        let held = (0..node.outputs.len()).all(|output| node.storage(output).is_some());
        if depth > 0 && !held {
            self.make(node, depth)?;
        }
        for source in sources {
            if let (Source::Node(n, _), depth @ 1..) = (source, Copies::depth_of(source, node, depth)) {
                self.make(n, depth)?;
            }
        }
        let inputs = sources.iter().map(|source| self.operand(source, node, depth)).collect();
        let outputs = match self.made.get(&(node.id, depth)) {
            Some(outputs) => outputs.clone(),
            None => (0..node.outputs.len()).map(|i| self.tensor(&Source::Node(node.clone(), i))).collect(),
        };
        Ok((inputs, outputs))
    }

    fn tensor(&self, source: &Source) -> Tensor {
        Tensor::from_source(self.device, source.clone(), source.spec(), Flow::None)
    }

    /// The depth of the copy of `source` that a copy of `node` at `depth` reads; 0 for the value itself. Effects are not
    /// repeated, so what they put out is read as it is; and so is what somebody holds after a run.
    fn depth_of(source: &Source, node: &Node, depth: usize) -> usize {
        match source {
            Source::Node(n, output) if !n.is_effect() && n.storage(*output).is_none() => {
                node.path.shared(&n.path).min(depth)
            }
            _ => 0,
        }
    }

    fn operand(&self, source: &Source, node: &Node, depth: usize) -> Tensor {
        let copy = match source {
            Source::Node(n, output) => self
                .made
                .get(&(n.id, Copies::depth_of(source, node, depth)))
                .map(|outputs| outputs[*output].clone()),
            _ => None,
        };
        copy.unwrap_or_else(|| self.tensor(source))
    }

    /// Appends the copy of `node` at `depth`, and those of the nodes that lead to it.
    fn make(&mut self, node: &Arc<Node>, depth: usize) -> Result<()> {
        // Outer copies first, each depth in program order.
        let mut missing: BTreeMap<(usize, u64), (Arc<Node>, Vec<Source>)> = BTreeMap::new();
        let mut open = vec![(node.clone(), depth)];
        while let Some((node, depth)) = open.pop() {
            if missing.contains_key(&(depth, node.id)) || self.made.contains_key(&(node.id, depth)) {
                continue;
            }
            let sources = node.sources()?;
            for source in &sources {
                if let (Source::Node(n, _), depth @ 1..) = (source, Copies::depth_of(source, &node, depth)) {
                    open.push((n.clone(), depth));
                }
            }
            missing.insert((depth, node.id), (node, sources));
        }
        for ((depth, id), (node, sources)) in missing {
            self.check(&node, &sources)?;
            let inputs: Vec<Tensor> = sources.iter().map(|s| self.operand(s, &node, depth)).collect();
            let specs: Vec<Spec> = node.outputs.iter().map(|o| o.spec).collect();
            let caller = Caller::backward(node.caller.location);
            let outputs = on_behalf_of(caller, || {
                let inputs: Vec<&Tensor> = inputs.iter().collect();
                let (op, at) = (node.op.clone(), node.caller.location);
                trace::append_again(self.device, op, &inputs, &node.scalars, &specs, at, depth)
            });
            self.made.insert((id, depth), outputs);
        }
        Ok(())
    }

    /// A copy must read what the node has read.
    fn check(&mut self, node: &Node, sources: &[Source]) -> Result<()> {
        for source in sources {
            let Source::Variable(variable, version) = source else { continue };
            let updates = self.updates.get_or_insert_with(|| trace::pending_updates(self.device));
            let changed = match node.has_run() {
                true => variable.version() != *version || updates.iter().any(|(_, v)| v.overlaps(variable)),
                false => updates.iter().any(|(id, v)| *id > node.id && v.overlaps(variable)),
            };
            if changed {
                return Err(Error::Updated { variable: variable.name().to_string() });
            }
        }
        Ok(())
    }
}
