//! Backward: walks the graph behind a value and appends the gradient rules' nodes. Engines know nothing of it.

use crate::caller::{Caller, on_behalf_of};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::op::GradIo;
use crate::recompute::Copies;
use crate::tensor::{Flow, Tensor};
use crate::trace::{Node, Source, no_grad};
use crate::variable::Variable;
use std::collections::{BTreeMap, HashMap};
use std::panic::Location;
use std::sync::Arc;

/// What a gradient belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Leaf(u64),
    /// Identity of an arena chunk, and the byte offset in it.
    Variable(u64, u64),
    Node(u64, usize),
}

fn key(source: &Source) -> Key {
    match source {
        Source::Leaf(leaf) => Key::Leaf(leaf.id),
        Source::Variable(v, _) => Key::Variable(v.chunk().id(), v.offset()),
        Source::Node(node, output) => Key::Node(node.id, *output),
    }
}

/// Gradients of one value with respect to the parameters and uploaded tensors that it depends on.
#[derive(Debug)]
pub struct Gradients {
    device: Device,
    by_key: HashMap<Key, Tensor>,
    failure: Option<Error>,
}

impl Gradients {
    /// The gradient with respect to `tensor`, one marked by [`requires_grad`](Tensor::requires_grad) (uploaded, or
    /// [`detach`](Tensor::detach)ed from a graph); `None` when the value does not depend on it.
    pub fn wrt(&self, tensor: &Tensor) -> Option<Tensor> {
        self.get(key(tensor.source()), tensor)
    }

    /// The gradient with respect to a parameter; `None` when the value does not depend on it.
    pub fn of(&self, variable: &Arc<Variable>) -> Option<Tensor> {
        self.wrt(&variable.tensor())
    }

    /// The device that the gradients are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn get(&self, key: Key, like: &Tensor) -> Option<Tensor> {
        match &self.failure {
            Some(error) => Some(Tensor::failed(like.device(), like.spec(), error.clone())),
            None => self.by_key.get(&key).cloned(),
        }
    }

    /// The error that kept the gradients from being formed, if any.
    ///
    /// # Errors
    /// [`Error::Released`] when the graph behind the value was gone.
    pub fn check(&self) -> Result<()> {
        self.failure.clone().map_or(Ok(()), Err)
    }
}

impl Tensor {
    /// Gradients of this scalar with respect to every parameter and marked tensor that it depends on. Only appends
    /// to the trace; if the graph is gone, using the gradients returns the error.
    ///
    /// # Panics
    /// When this is not a single f32 value.
    #[track_caller]
    pub fn backward(&self) -> Gradients {
        let (elements, spec) = (self.shape().elements(), self.spec());
        assert!(elements == 1 && self.is_f32(), "backward() of {spec}: expected one f32 value");
        self.backward_with(&self.device().one().reshape(self.shape()))
    }

    /// Vector-Jacobian product: gradients of `sum(self * dy)`.
    ///
    /// # Panics
    /// When `dy` does not have this tensor's shape.
    #[track_caller]
    pub fn backward_with(&self, dy: &Tensor) -> Gradients {
        match cotangents(self, dy, &[]) {
            Ok((by_key, _)) => Gradients { device: self.device().clone(), by_key, failure: None },
            Err(error) => {
                Gradients { device: self.device().clone(), by_key: HashMap::new(), failure: Some(error) }
            }
        }
    }

    /// Gradients of `sum(self * dy)` with respect to any tensors, results of ops among them.
    ///
    /// # Errors
    /// [`Error::Released`] when the graph behind this value is gone.
    ///
    /// # Panics
    /// When `dy` does not have this tensor's shape.
    #[track_caller]
    pub fn gradients(&self, dy: &Tensor, wrt: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
        let keys: Vec<Key> = wrt.iter().map(|t| key(t.source())).collect();
        let (by_key, inner) = cotangents(self, dy, &keys)?;
        Ok(keys.iter().map(|k| inner.get(k).or(by_key.get(k)).cloned()).collect())
    }
}

type ByKey = HashMap<Key, Tensor>;

/// Gradients of leaves and variables, and of the results named in `keep`.
#[track_caller]
fn cotangents(root: &Tensor, dy: &Tensor, keep: &[Key]) -> Result<(ByKey, ByKey)> {
    assert_eq!(root.shape(), dy.shape(), "the gradient of a value has the value's shape");
    let device = root.device();
    let mut of_leaves = HashMap::new();
    let mut kept = HashMap::new();
    let root_key = key(root.source());
    let (Source::Node(last, output), Flow::Through) = (root.source(), root.flow()) else {
        if let Source::Leaf(leaf) = root.source() {
            leaf.storage.as_ref().map_err(Clone::clone)?;
        }
        if root.needs_grad() {
            of_leaves.insert(root_key, dy.clone());
        }
        return Ok((of_leaves, kept));
    };
    let mut open: BTreeMap<(u64, usize), Tensor> = BTreeMap::new();
    let mut nodes: HashMap<u64, Arc<Node>> = HashMap::new();
    open.insert((last.id, *output), dy.clone());
    nodes.insert(last.id, last.clone());
    let asked = Caller::backward(Location::caller());
    let differentiate = || {
        let mut copies = Copies::new(device);
        // Ids ascend along every edge, so the largest id has all its gradients when it is taken.
        while let Some((&(id, _), _)) = open.last_key_value() {
            let node = nodes.remove(&id).expect("an open gradient belongs to a known node");
            let mut dys: Vec<Option<Tensor>> = vec![None; node.outputs.len()];
            for (output, dy) in dys.iter_mut().enumerate() {
                *dy = open.remove(&(id, output));
                if let (Some(dy), true) = (&dy, keep.contains(&Key::Node(id, output))) {
                    kept.insert(Key::Node(id, output), dy.clone());
                }
            }
            if !node.needs_grad {
                continue;
            }
            let sources = node.sources()?;
            let (inputs, outputs) = copies.of(&node, &sources)?;
            let of_node = Caller::backward(node.caller.location);
            let gradients = on_behalf_of(of_node, || node_gradients(&node, &inputs, &outputs, &dys));
            for ((source, gradient), &through) in sources.iter().zip(gradients).zip(&node.through) {
                let Some(gradient) = gradient else { continue };
                match source {
                    Source::Node(n, output) if through => {
                        nodes.entry(n.id).or_insert_with(|| n.clone());
                        accumulate(open.entry((n.id, *output)), gradient);
                    }
                    other => match of_leaves.remove(&key(other)) {
                        Some(sum) => drop(of_leaves.insert(key(other), add(&sum, &gradient))),
                        None => drop(of_leaves.insert(key(other), gradient)),
                    },
                }
            }
        }
        Ok((of_leaves, kept))
    };
    no_grad(|| on_behalf_of(asked, differentiate))
}

fn accumulate(entry: std::collections::btree_map::Entry<'_, (u64, usize), Tensor>, gradient: Tensor) {
    use std::collections::btree_map::Entry;
    match entry {
        Entry::Vacant(v) => drop(v.insert(gradient)),
        Entry::Occupied(mut sum) => {
            let total = add(sum.get(), &gradient);
            sum.insert(total);
        }
    }
}

fn add(a: &Tensor, b: &Tensor) -> Tensor {
    a.add(b)
}

/// The rule of one node: gradients of its operands, `None` for those that are not wanted.
fn node_gradients(
    node: &Node,
    inputs: &[Tensor],
    outputs: &[Tensor],
    dys: &[Option<Tensor>],
) -> Vec<Option<Tensor>> {
    let io = GradIo { inputs, outputs, dy: dys, scalars: &node.scalars, wants: &node.wants };
    let mut gradients = node.op.grad(&io);
    assert_eq!(gradients.len(), inputs.len(), "gradient rule of {}", node.op.name());
    for ((gradient, input), &wanted) in gradients.iter_mut().zip(inputs).zip(&node.wants) {
        if !wanted {
            *gradient = None;
        }
        if let Some(gradient) = gradient {
            assert_eq!(gradient.shape(), input.shape(), "gradient rule of {}", node.op.name());
        }
    }
    gradients
}
