//! Folds what scales and shifts the channels of a convolution, such as a batch normalisation in evaluation, into its weights
//! and bias: `(x∗w + b - mean)·s + beta = x∗(w·s) + ((b - mean)·s + beta)`.
//!
//! What the folded weights are computed from are variables that the program does not change. So they are computed by a
//! program of their own, the prelude, which runs only when a variable has changed since; its results come into the main
//! program from outside, like leaves.

use super::{Held, Listed, Listing, Operand};
use crate::caller::Caller;
use crate::op::{Fold, Op, Scalar};
use crate::pointwise::{Arg, Function, Pointwise};
use crate::shape::Spec;
use crate::variable::Site;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// A listing in two.
pub(crate) struct Folded {
    /// Reads variables only; what it holds are the main listing's last leaves.
    pub prelude: Listing,
    /// What is left.
    pub main: Listing,
    /// Which of the run's scalars each of them takes, in order.
    prelude_scalars: Vec<usize>,
    main_scalars: Vec<usize>,
}

impl Folded {
    /// The prelude's scalars among the run's.
    pub fn prelude_scalars(&self, all: &[Scalar]) -> Vec<Scalar> {
        self.prelude_scalars.iter().map(|&s| all[s]).collect()
    }

    /// The main program's.
    pub fn main_scalars(&self, all: &[Scalar]) -> Vec<Scalar> {
        self.main_scalars.iter().map(|&s| all[s]).collect()
    }

    /// The variables that the prelude reads.
    pub fn variables(&self) -> impl Iterator<Item = &Arc<Site>> {
        self.prelude.nodes.iter().flat_map(|n| &n.inputs).filter_map(|input| match input {
            Operand::Variable(site) => Some(site),
            _ => None,
        })
    }
}

/// The listing with everything folded that can be; `None` where there is nothing.
///
/// Values that are computed again for gradients must have the same bits as the first time, so nothing is folded beside
/// them.
pub(crate) fn fold(listing: &Listing) -> Option<Folded> {
    if listing.nodes.iter().any(|n| n.again > 0) {
        return None;
    }
    let mut folding = Folding::new(listing);
    for node in 0..listing.nodes.len() {
        folding.fold(node);
    }
    (!folding.replaced.is_empty()).then(|| folding.finish())
}

/// A value of the listing.
type Result = (usize, usize);

struct Folding<'a> {
    listing: &'a Listing,
    /// The chunks that the program changes.
    changed: HashSet<u64>,
    /// The nodes that read each value.
    readers: HashMap<Result, Vec<usize>>,
    /// Whether each node's results depend on unchanged variables only.
    constant: Vec<bool>,
    /// The index of each node's first scalar.
    first_scalar: Vec<usize>,
    prelude: Listing,
    prelude_scalars: Vec<usize>,
    /// Where nodes of the listing came to lie in the prelude.
    copied: HashMap<usize, usize>,
    /// What takes the place of each chain, by its last node.
    replaced: HashMap<usize, Replaced>,
}

/// A convolution with folded weights.
struct Replaced {
    /// The convolution's node.
    node: usize,
    /// The op with a bias.
    op: Arc<dyn Op>,
    /// Its weights among what the prelude holds; the bias follows.
    weights: usize,
}

impl<'a> Folding<'a> {
    fn new(listing: &'a Listing) -> Self {
        let mut readers: HashMap<Result, Vec<usize>> = HashMap::new();
        let changed: HashSet<u64> =
            listing.nodes.iter().flat_map(Listed::updated).map(|site| site.chunk.id()).collect();
        let (mut constant, mut first_scalar, mut scalars) = (Vec::new(), Vec::new(), 0);
        for (i, node) in listing.nodes.iter().enumerate() {
            let steady = |input: &Operand| is_constant(input, &changed, &constant);
            let steady =
                node.op.updates().is_empty() && !node.inputs.is_empty() && node.inputs.iter().all(steady);
            constant.push(steady);
            first_scalar.push(scalars);
            scalars += node.scalars;
            for input in &node.inputs {
                if let Operand::Result { node, output } = input {
                    readers.entry((*node, *output)).or_default().push(i);
                }
            }
        }
        Folding {
            listing,
            changed,
            readers,
            constant,
            first_scalar,
            prelude: Listing::default(),
            prelude_scalars: Vec::new(),
            copied: HashMap::new(),
            replaced: HashMap::new(),
        }
    }

    fn spec(&self, operand: &Operand) -> Spec {
        match operand {
            Operand::Leaf(i) => self.listing.leaves[*i],
            Operand::Variable(site) => site.spec,
            Operand::Result { node, output } => self.listing.nodes[*node].outputs[*output],
        }
    }

    fn is_constant(&self, operand: &Operand) -> bool {
        is_constant(operand, &self.changed, &self.constant)
    }

    /// The node that alone reads `value`, if nobody else needs it.
    fn only_reader(&self, value: Result) -> Option<usize> {
        let held = Held { node: value.0, output: value.1 };
        match self.readers.get(&value).map(Vec::as_slice) {
            Some(&[reader]) if !self.listing.held.contains(&held) => Some(reader),
            _ => None,
        }
    }

    /// The functions of constant vectors of channels that follow `node` one by one, with the node of each.
    fn chain(&self, node: usize) -> Vec<(usize, Function, Operand)> {
        let shape = self.listing.nodes[node].outputs[0].shape;
        let (mut at, mut chain) = (node, Vec::new());
        while let Some(next) = self.only_reader((at, 0)) {
            let reader = &self.listing.nodes[next];
            let Some(step) = reader.op.pointwise().and_then(Pointwise::only_step) else { break };
            let &[Arg::Input(a), Arg::Input(b)] = &step.args[..] else { break };
            let mine = |i: usize| reader.inputs[i] == Operand::Result { node: at, output: 0 };
            let ordered = matches!(step.function, Function::Sub | Function::Div);
            let known = ordered || matches!(step.function, Function::Add | Function::Mul);
            let other = match (mine(a), mine(b)) {
                (true, false) => &reader.inputs[b],
                (false, true) if !ordered => &reader.inputs[a],
                _ => break,
            };
            let along = crate::pointwise::vector_axis(self.spec(other).shape, shape) == Some(1);
            if !known || !along || reader.outputs[0].shape != shape || !self.is_constant(other) {
                break;
            }
            chain.push((next, step.function, other.clone()));
            at = next;
        }
        chain
    }

    /// Folds the chain behind `node` into it, where there is one that scales.
    fn fold(&mut self, node: usize) {
        let listed = &self.listing.nodes[node];
        let specs: Vec<Spec> = listed.inputs.iter().map(|i| self.spec(i)).collect();
        let Some(how) = listed.op.fold(&specs) else { return };
        let chain = self.chain(node);
        let scales = chain.iter().any(|(_, f, _)| matches!(f, Function::Mul | Function::Div));
        if !scales || !listed.inputs[1..].iter().all(|input| self.is_constant(input)) {
            return;
        }
        let caller = listed.caller;
        let weights = self.constant(&listed.inputs[1]);
        let bias = listed.inputs.get(2).cloned();
        let mut shift = bias.map(|b| self.vector(&how, &b, caller));
        let mut scale: Option<Operand> = None;
        for (_, function, other) in &chain {
            let v = self.vector(&how, other, caller);
            let mut of = |f: Function, inputs: &[&Operand]| self.compute(f, inputs, caller);
            match function {
                Function::Add | Function::Sub => {
                    let alone = if *function == Function::Add { v.clone() } else { of(Function::Neg, &[&v]) };
                    shift = Some(shift.map_or(alone, |s| of(*function, &[&s, &v])));
                }
                _ => {
                    let inverse = *function == Function::Div;
                    let alone = if inverse { of(Function::Recip, &[&v]) } else { v.clone() };
                    scale = Some(scale.map_or(alone, |s| of(*function, &[&s, &v])));
                    shift = shift.map(|s| of(*function, &[&s, &v]));
                }
            }
        }
        let scale = scale.expect("the chain scales");
        let rows = self.append(how.rows.clone(), vec![scale.clone()], caller);
        let folded = self.compute(Function::Mul, &[&weights, &rows], caller);
        // Without anything that shifts, the bias is 0 times the scale.
        let shift = shift.unwrap_or_else(|| self.compute(Function::Sub, &[&scale, &scale], caller));
        let first = self.prelude.held.len();
        for operand in [folded, shift] {
            let Operand::Result { node, output } = operand else { unreachable!("both were computed") };
            self.prelude.held.push(Held { node, output });
        }
        let last = chain.last().expect("the chain scales").0;
        self.replaced.insert(last, Replaced { node, op: how.op, weights: first });
    }

    /// A constant operand, in the prelude.
    fn constant(&mut self, operand: &Operand) -> Operand {
        if let Operand::Result { node, .. } = operand {
            // Not by recursion: the way to it may be as long as the listing.
            let (mut wanted, mut stack) = (BTreeSet::new(), vec![*node]);
            while let Some(node) = stack.pop() {
                if !self.copied.contains_key(&node) && wanted.insert(node) {
                    stack.extend(self.listing.nodes[node].inputs.iter().filter_map(Operand::node));
                }
            }
            wanted.into_iter().for_each(|node| self.copy(node));
        }
        self.in_prelude(operand)
    }

    /// Copies a node to the prelude, where its operands are.
    fn copy(&mut self, node: usize) {
        let listed = self.listing.nodes[node].clone();
        let inputs = listed.inputs.iter().map(|input| self.in_prelude(input)).collect();
        let first = self.first_scalar[node];
        self.prelude_scalars.extend(first..first + listed.scalars);
        self.copied.insert(node, self.prelude.nodes.len());
        self.prelude.nodes.push(Listed { inputs, ..listed });
    }

    /// The operand, where its node was copied.
    fn in_prelude(&self, operand: &Operand) -> Operand {
        match operand {
            Operand::Result { node, output } => Operand::Result { node: self.copied[node], output: *output },
            other => other.clone(),
        }
    }

    /// A constant vector of channels, as one axis. Always a value of the prelude's own.
    fn vector(&mut self, how: &Fold, operand: &Operand, caller: Caller) -> Operand {
        let operand = self.constant(operand);
        self.append(how.vector.clone(), vec![operand], caller)
    }

    fn compute(&mut self, function: Function, inputs: &[&Operand], caller: Caller) -> Operand {
        let inputs = inputs.iter().map(|&i| i.clone()).collect();
        self.append(Arc::new(Pointwise::single(function)), inputs, caller)
    }

    fn append(&mut self, op: Arc<dyn Op>, inputs: Vec<Operand>, caller: Caller) -> Operand {
        let of = |input: &Operand| match input {
            Operand::Result { node, output } => self.prelude.nodes[*node].outputs[*output],
            Operand::Variable(site) => site.spec,
            Operand::Leaf(_) => unreachable!("a prelude has no leaves"),
        };
        let specs: Vec<Spec> = inputs.iter().map(of).collect();
        let outputs = op.outputs(&specs).expect("vectors of channels fit the weights' rows");
        self.prelude.nodes.push(Listed { op, inputs, outputs, scalars: 0, again: 0, caller });
        Operand::Result { node: self.prelude.nodes.len() - 1, output: 0 }
    }

    /// The main listing: convolutions with folded weights in the place of their chains, without what nobody needs now.
    fn finish(self) -> Folded {
        let mut main = Listing { nodes: Vec::new(), leaves: self.listing.leaves.clone(), held: Vec::new() };
        let first_leaf = main.leaves.len();
        main.leaves.extend(self.prelude.held.iter().map(|h| self.prelude.nodes[h.node].outputs[h.output]));
        let needed = self.needed();
        let mut moved: HashMap<usize, usize> = HashMap::new();
        let mut main_scalars = Vec::new();
        for (i, node) in self.listing.nodes.iter().enumerate().filter(|(i, _)| needed.contains(i)) {
            let of = |input: &Operand| match input {
                Operand::Result { node, output } => Operand::Result { node: moved[node], output: *output },
                other => other.clone(),
            };
            let listed = match self.replaced.get(&i) {
                Some(Replaced { node, op, weights }) => {
                    let listed = &self.listing.nodes[*node];
                    let leaf = |held: usize| Operand::Leaf(first_leaf + held);
                    let inputs = vec![of(&listed.inputs[0]), leaf(*weights), leaf(weights + 1)];
                    Listed { op: op.clone(), inputs, scalars: 0, ..listed.clone() }
                }
                None => {
                    main_scalars.extend(self.first_scalar[i]..self.first_scalar[i] + node.scalars);
                    Listed { inputs: node.inputs.iter().map(of).collect(), ..node.clone() }
                }
            };
            moved.insert(i, main.nodes.len());
            main.nodes.push(listed);
        }
        main.held = self.listing.held.iter().map(|h| Held { node: moved[&h.node], ..*h }).collect();
        let prelude_scalars = self.prelude_scalars;
        Folded { prelude: self.prelude, main, prelude_scalars, main_scalars }
    }

    /// The nodes that the main listing needs; the last of a chain stands for all of it.
    fn needed(&self) -> HashSet<usize> {
        let effects =
            (0..self.listing.nodes.len()).filter(|&i| !self.listing.nodes[i].op.updates().is_empty());
        let mut stack: Vec<usize> = self.listing.held.iter().map(|h| h.node).chain(effects).collect();
        let mut needed = HashSet::new();
        while let Some(node) = stack.pop() {
            if !needed.insert(node) {
                continue;
            }
            let inputs = match self.replaced.get(&node) {
                Some(replaced) => &self.listing.nodes[replaced.node].inputs[..1],
                None => &self.listing.nodes[node].inputs[..],
            };
            stack.extend(inputs.iter().filter_map(Operand::node));
        }
        needed
    }
}

/// Whether an operand depends on variables only, none of which lies in a chunk that is `changed`.
fn is_constant(operand: &Operand, changed: &HashSet<u64>, constant: &[bool]) -> bool {
    match operand {
        Operand::Leaf(_) => false,
        Operand::Variable(site) => !changed.contains(&site.chunk.id()),
        Operand::Result { node, .. } => constant[*node],
    }
}

impl Operand {
    /// The node whose result it is.
    fn node(&self) -> Option<usize> {
        match self {
            Operand::Result { node, .. } => Some(*node),
            _ => None,
        }
    }
}

impl Listed {
    /// The variables that the node updates.
    fn updated(&self) -> impl Iterator<Item = &Arc<Site>> {
        self.op.updates().iter().filter_map(|&i| match &self.inputs[i] {
            Operand::Variable(site) => Some(site),
            _ => None,
        })
    }
}
