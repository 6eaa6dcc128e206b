//! What was asked: each thread's list of nodes that have not run yet, and the graph behind what has.
//!
//! A node is appended by every op. A run takes the nodes that lead to values somebody holds, to values asked for and
//! to pending effects, turns them into a [`Listing`] and has the device run the program made from it. Nodes stay
//! alive as the graph behind their results, so a gradient can be taken after its value was read: values that were not
//! kept are computed again, effects are not.

use crate::caller::{self, Caller};
use crate::device::{Device, Storage};
use crate::error::{Error, Result};
use crate::op::{Op, Scalar};
use crate::program::{Held, Listed, Listing, Operand};
use crate::recompute::{self, Path};
use crate::shape::Spec;
use crate::tensor::{Flow, NodeResult, Tensor};
use crate::variable::Variable;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A trace that has grown to this many nodes runs by itself.
const MAX_PENDING: usize = 100_000;
/// A trace whose pending results would take this many bytes runs by itself.
const MAX_PENDING_BYTES: u64 = 64 << 30;
/// Graphs of this many earlier runs are kept for a later `backward`; older ones are released.
const KEPT_RUNS: usize = 64;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// Ids ascend in the order of creation, over all threads: they are the program's order.
pub(crate) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// An uploaded tensor, or one that stands for a failure.
pub(crate) struct Leaf {
    pub id: u64,
    pub spec: Spec,
    pub storage: Result<Storage>,
    /// What was seen of a tensor of labels.
    pub labels: Option<Labels>,
}

/// What the host saw of labels when they were uploaded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Labels {
    /// The largest of them, ignore marks aside, and where it stands.
    pub largest: Option<(u32, usize)>,
    /// Where the first ignore mark stands.
    pub ignored: Option<usize>,
}

/// Where a value comes from.
#[derive(Clone)]
pub(crate) enum Source {
    Leaf(Arc<Leaf>),
    /// With the version that was read.
    Variable(Arc<Variable>, u64),
    Node(Arc<Node>, usize),
}

/// One op that was asked for.
pub(crate) struct Node {
    pub id: u64,
    pub op: Arc<dyn Op>,
    pub scalars: Vec<Scalar>,
    pub outputs: Vec<OutputState>,
    pub needs_grad: bool,
    /// To which operands gradients flow.
    pub wants: Vec<bool>,
    /// Through which of them they flow on.
    pub through: Vec<bool>,
    pub caller: Caller,
    pub path: Path,
    /// Of a copy, the depth of the segment that it was made for; otherwise 0.
    pub again: usize,
    trace: Weak<Mutex<Trace>>,
    inputs: Mutex<Inputs>,
    ran: AtomicBool,
}

/// A node's operands: empty once the graph has been released.
struct Inputs {
    sources: Vec<Source>,
    released: bool,
}

/// One result of a node.
pub(crate) struct OutputState {
    pub spec: Spec,
    /// Tensors that stand for it.
    pub handles: AtomicUsize,
    /// Pending nodes that read it.
    pins: AtomicUsize,
    storage: Mutex<Option<Storage>>,
    /// Set once it cannot be computed again, so it stays as long as anything refers to it, like an uploaded value.
    kept: AtomicBool,
    /// As a leaf's, for labels under another shape.
    pub labels: Option<Labels>,
}

impl Source {
    pub fn spec(&self) -> Spec {
        match self {
            Source::Leaf(leaf) => leaf.spec,
            Source::Variable(v, _) => v.spec(),
            Source::Node(n, output) => n.outputs[*output].spec,
        }
    }
}

impl Node {
    pub fn has_run(&self) -> bool {
        self.ran.load(Ordering::Acquire)
    }

    /// One tensor less stands for `output`.
    pub fn unhold(&self, output: usize) {
        let state = &self.outputs[output];
        state.handles.fetch_sub(1, Ordering::AcqRel);
        state.drop_if_unused();
    }

    pub fn storage(&self, output: usize) -> Option<Storage> {
        self.outputs[output].storage.lock().unwrap().clone()
    }

    /// The operands, or the error that says the graph is gone.
    pub fn sources(&self) -> Result<Vec<Source>> {
        let inputs = self.inputs.lock().unwrap();
        match inputs.released {
            true => Err(Error::Released { op: self.op.name(), caller: self.caller.location }),
            false => Ok(inputs.sources.clone()),
        }
    }

    fn release(&self) {
        let mut inputs = self.inputs.lock().unwrap();
        inputs.released = true;
        let sources = std::mem::take(&mut inputs.sources);
        drop(inputs);
        drop_iteratively(sources);
    }

    /// Lets go of the operands where no gradient flows and all results are there: a state that is carried on without
    /// gradients would otherwise keep what all runs before it were given.
    fn stand_alone(&self) {
        if self.needs_grad || self.is_effect() {
            return;
        }
        let storages: Vec<_> = self.outputs.iter().map(|o| o.storage.lock().unwrap()).collect();
        if storages.iter().all(|s| s.is_some()) {
            self.outputs.iter().for_each(|o| o.kept.store(true, Ordering::Release));
            drop(storages);
            self.release();
        }
    }

    /// Ends the pins on the operands, and notes which versions of variables were read.
    fn finish(&self) {
        let mut inputs = self.inputs.lock().unwrap();
        for source in &mut inputs.sources {
            match source {
                Source::Variable(v, version) => *version = v.version(),
                Source::Node(node, output) => node.outputs[*output].unpin(),
                Source::Leaf(_) => {}
            }
        }
        self.ran.store(true, Ordering::Release);
    }

    pub fn is_effect(&self) -> bool {
        !self.op.updates().is_empty()
    }

    /// The variables that it updates.
    fn updated(&self) -> Vec<Arc<Variable>> {
        let inputs = self.inputs.lock().unwrap();
        let variable = |&i: &usize| match inputs.sources.get(i) {
            Some(Source::Variable(v, _)) => Some(v.clone()),
            _ => None,
        };
        self.op.updates().iter().filter_map(variable).collect()
    }
}

impl OutputState {
    fn held(&self) -> bool {
        self.handles.load(Ordering::Acquire) > 0
    }

    fn unpin(&self) {
        self.pins.fetch_sub(1, Ordering::AcqRel);
        self.drop_if_unused();
    }

    fn drop_if_unused(&self) {
        if self.handles.load(Ordering::Acquire) == 0 && self.pins.load(Ordering::Acquire) == 0 {
            let mut storage = self.storage.lock().unwrap();
            let unused = if self.kept.load(Ordering::Acquire) { None } else { storage.take() };
            drop(storage);
            drop(unused);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let inputs = self.inputs.get_mut().unwrap();
        let sources = std::mem::take(&mut inputs.sources);
        if !*self.ran.get_mut() {
            for source in &sources {
                if let Source::Node(node, output) = source {
                    node.outputs[*output].unpin();
                }
            }
        }
        drop_iteratively(sources);
    }
}

/// Drops a graph without recursing through it: a chain of a million nodes must not overflow the stack.
fn drop_iteratively(mut sources: Vec<Source>) {
    while let Some(source) = sources.pop() {
        if let Source::Node(node, _) = source
            && let Some(mut node) = Arc::into_inner(node)
        {
            let ran = *node.ran.get_mut();
            let inputs = std::mem::take(&mut node.inputs.get_mut().unwrap().sources);
            if !ran {
                for source in &inputs {
                    if let Source::Node(n, output) = source {
                        n.outputs[*output].unpin();
                    }
                }
            }
            sources.extend(inputs);
        }
    }
}

/// What one thread has asked of one device and not run yet.
#[derive(Default)]
pub(crate) struct Trace {
    pending: Vec<Arc<Node>>,
    pending_bytes: u64,
    /// Nodes of earlier runs, oldest run first.
    retired: VecDeque<Vec<Weak<Node>>>,
    /// Programs run.
    runs: u64,
}

thread_local! {
    static NO_GRAD: Cell<usize> = const { Cell::new(0) };
}

/// Runs `f` without building a graph for gradients: evaluation, and updates of weights by hand.
pub fn no_grad<T>(f: impl FnOnce() -> T) -> T {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            NO_GRAD.set(NO_GRAD.get() - 1);
        }
    }
    NO_GRAD.set(NO_GRAD.get() + 1);
    let _guard = Guard;
    f()
}

/// Whether gradients may be asked of an op with such operands.
pub(crate) fn builds_graph(inputs: &[&Tensor]) -> bool {
    NO_GRAD.get() == 0 && inputs.iter().any(|t| t.needs_grad())
}

/// Appends a node and returns its results. Operands pending on another thread's trace are run first.
pub(crate) fn append(
    device: &Device,
    op: Arc<dyn Op>,
    inputs: &[&Tensor],
    scalars: &[Scalar],
    outputs: &[Spec],
    location: &'static Location<'static>,
) -> Vec<Tensor> {
    append_again(device, op, inputs, scalars, outputs, location, 0)
}

/// [`append`] of what was computed before in a segment at depth `again`.
pub(crate) fn append_again(
    device: &Device,
    op: Arc<dyn Op>,
    inputs: &[&Tensor],
    scalars: &[Scalar],
    outputs: &[Spec],
    location: &'static Location<'static>,
    again: usize,
) -> Vec<Tensor> {
    let trace = device.trace();
    for input in inputs {
        settle_foreign(device, &trace, input);
    }
    let start = crate::clock::now();
    let sources: Vec<Source> = inputs.iter().map(|t| present(t.source())).collect();
    for source in &sources {
        if let Source::Node(node, output) = source {
            node.outputs[*output].pins.fetch_add(1, Ordering::AcqRel);
        }
    }
    let needs_grad = op.updates().is_empty() && builds_graph(inputs);
    let labels = inputs.first().filter(|_| op.alias()).and_then(|t| t.labels());
    let state = |&spec| OutputState {
        spec,
        handles: AtomicUsize::new(0),
        pins: AtomicUsize::new(0),
        storage: Mutex::new(None),
        kept: AtomicBool::new(false),
        labels,
    };
    let node = Arc::new(Node {
        id: next_id(),
        op,
        scalars: scalars.to_vec(),
        outputs: outputs.iter().map(state).collect(),
        needs_grad,
        wants: inputs.iter().map(|t| needs_grad && t.needs_grad()).collect(),
        through: inputs.iter().map(|t| needs_grad && t.flow() == Flow::Through).collect(),
        caller: caller::of(location),
        path: recompute::present(),
        again,
        trace: Arc::downgrade(&trace),
        inputs: Mutex::new(Inputs { sources, released: false }),
        ran: AtomicBool::new(false),
    });
    let results = (outputs.iter().enumerate())
        .map(|(i, &spec)| {
            let flows = needs_grad && spec.dtype == crate::shape::DType::F32;
            let flow = if flows { Flow::Through } else { Flow::None };
            Tensor::from_source(device, Source::Node(node.clone(), i), spec, flow)
        })
        .collect();
    let full = {
        let mut t = lock(&trace);
        t.pending_bytes += outputs.iter().map(Spec::bytes).sum::<u64>();
        t.pending.push(node);
        t.pending.len() >= MAX_PENDING || t.pending_bytes >= MAX_PENDING_BYTES || device.runs_node_by_node()
    };
    device.count_tracing(crate::clock::now() - start);
    if full && let Err(error) = run(device, &trace, &[]) {
        device.defer(error);
    }
    results
}

/// Variables that pending nodes of this thread update, with the nodes' ids.
pub(crate) fn pending_updates(device: &Device) -> Vec<(u64, Arc<Variable>)> {
    let trace = device.trace();
    let trace = lock(&trace);
    let effects = trace.pending.iter().filter(|n| n.is_effect());
    effects.flat_map(|n| n.updated().into_iter().map(|v| (n.id, v))).collect()
}

/// The source as of now: a variable is read at its present version.
fn present(source: &Source) -> Source {
    match source {
        Source::Variable(v, _) => Source::Variable(v.clone(), v.version()),
        other => other.clone(),
    }
}

/// A tensor that is pending on another thread is run there before this thread uses it, so threads never mix in one
/// program.
fn settle_foreign(device: &Device, own: &Arc<Mutex<Trace>>, tensor: &Tensor) {
    if let Source::Node(node, output) = tensor.source()
        && !node.has_run()
        && node.storage(*output).is_none()
        && let Some(foreign) = node.trace.upgrade()
        && !Arc::ptr_eq(&foreign, own)
        && let Err(error) = run(device, &foreign, &[])
    {
        device.defer(error);
    }
}

/// Runs what leads to `tensor` (and whatever else is pending) and returns where its value is.
pub(crate) fn materialise(tensor: &Tensor) -> Result<Storage> {
    let device = tensor.device();
    match tensor.source() {
        Source::Leaf(leaf) => {
            device.check()?;
            leaf.storage.clone()
        }
        Source::Variable(variable, _) => {
            device.run()?;
            Ok(device.chunk_storage(variable))
        }
        Source::Node(node, output) => {
            if let Some(storage) = node.storage(*output) {
                device.check()?;
                return Ok(storage);
            }
            let own = device.trace();
            let trace = match (node.has_run(), node.trace.upgrade()) {
                (false, Some(trace)) => trace,
                _ => own,
            };
            run(device, &trace, &[(node.clone(), *output)])?;
            Ok(node.storage(*output).expect("a run stores what was asked for"))
        }
    }
}

/// What a run would do, taken out of a trace.
pub(crate) struct Captured {
    pub listing: Listing,
    /// What the listing's leaves are.
    pub leaves: Vec<Storage>,
    /// Which of them is the input, if it is used.
    pub input: Option<usize>,
    pub scalars: Vec<Scalar>,
}

/// What would be run for `results`, which are pending on this thread. The listing holds them in order, and nothing else.
pub(crate) fn capture(input: &Tensor, results: &[NodeResult]) -> Result<Captured> {
    let nodes = needed_nodes(results.iter().map(|(node, _)| node.clone()).collect())?;
    let mut c = collect(&nodes)?;
    let index: HashMap<u64, usize> = nodes.iter().enumerate().map(|(i, n)| (n.id, i)).collect();
    c.listing.held =
        results.iter().map(|(node, output)| Held { node: index[&node.id], output: *output }).collect();
    let input = match input.source() {
        Source::Leaf(leaf) => c.keys.iter().position(|key| *key == leaf_key(leaf)),
        _ => unreachable!("the input is an uploaded tensor"),
    };
    Ok(Captured { listing: c.listing, leaves: c.leaves, input, scalars: c.scalars })
}

/// Programs that were run for this thread.
pub(crate) fn runs(device: &Device) -> u64 {
    lock(&device.trace()).runs
}

/// Gives up what is pending on this thread, effects too.
pub(crate) fn discard(device: &Device) {
    let trace = device.trace();
    let mut trace = lock(&trace);
    trace.pending_bytes = 0;
    let pending = std::mem::take(&mut trace.pending);
    drop(trace);
    drop(pending);
}

/// A trace is whole at any moment, so an op that panics in a run does not make it useless.
fn lock(trace: &Mutex<Trace>) -> MutexGuard<'_, Trace> {
    trace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the pending nodes of `trace` that anybody can still see, and what `asked` needs.
pub(crate) fn run(device: &Device, trace: &Arc<Mutex<Trace>>, asked: &[NodeResult]) -> Result<()> {
    // The lock is held to the end: a second thread that needs a value of this trace waits for its run.
    let mut trace = lock(trace);
    device.check()?;
    let start = crate::clock::now();
    let pending = std::mem::take(&mut trace.pending);
    trace.pending_bytes = 0;
    let roots = pending.iter().filter(|n| n.is_effect() || n.outputs.iter().any(OutputState::held));
    let roots: Vec<Arc<Node>> = roots.chain(asked.iter().map(|(n, _)| n)).cloned().collect();
    if roots.is_empty() {
        return Ok(());
    }
    trace.runs += 1;
    let needed = needed_nodes(roots)?;
    let collected = collect(&needed)?;
    let (results, encoding) = device.execute(&collected.listing, &collected.leaves, &collected.scalars)?;
    for (&(node, output), storage) in collected.held.iter().zip(results) {
        *needed[node].outputs[output].storage.lock().unwrap() = Some(storage);
        needed[node].outputs[output].drop_if_unused();
    }
    let updated = touch_updated(&needed);
    needed.iter().filter(|n| !n.has_run()).for_each(|n| n.finish());
    needed.iter().for_each(|n| n.stand_alone());
    trace.retire(&needed, updated, device.runs_node_by_node());
    drop((needed, pending));
    device.count_tracing((crate::clock::now() - start).saturating_sub(encoding));
    Ok(())
}

/// Notes that the variables which effects among `nodes` have just updated have changed; says whether a trainable one is
/// among them.
fn touch_updated(nodes: &[Arc<Node>]) -> bool {
    let mut trainable = false;
    for node in nodes.iter().filter(|n| n.is_effect() && !n.has_run()) {
        for v in node.updated() {
            v.touch();
            trainable |= v.trainable();
        }
    }
    trainable
}

impl Trace {
    /// Keeps the graph behind nodes that have run, and releases what an update or age has made useless.
    fn retire(&mut self, nodes: &[Arc<Node>], updated: bool, keep_all: bool) {
        self.retired.push_back(nodes.iter().map(Arc::downgrade).collect());
        if updated {
            self.release_updated();
        }
        while self.retired.len() > KEPT_RUNS && !keep_all {
            for node in self.retired.pop_front().unwrap_or_default() {
                if let Some(node) = node.upgrade() {
                    node.release();
                }
            }
        }
    }

    /// Releases the graphs that lead through variables which have been updated since.
    pub fn release_updated(&mut self) {
        let mut stale = std::collections::HashSet::new();
        for run in &mut self.retired {
            run.retain(|n| n.strong_count() > 0);
            for node in run.iter().filter_map(Weak::upgrade) {
                let leads = node.inputs.lock().unwrap().sources.iter().any(|s| match s {
                    Source::Variable(v, version) => v.trainable() && v.version() != *version,
                    Source::Node(n, _) => stale.contains(&n.id),
                    Source::Leaf(_) => false,
                });
                if leads {
                    stale.insert(node.id);
                    node.release();
                }
            }
        }
        self.retired.retain(|run| !run.is_empty());
    }
}

/// Every node that must run for `roots`, in program order.
fn needed_nodes(roots: Vec<Arc<Node>>) -> Result<Vec<Arc<Node>>> {
    let mut needed: HashMap<u64, Arc<Node>> = HashMap::new();
    let mut stack = roots;
    while let Some(node) = stack.pop() {
        if needed.contains_key(&node.id) {
            continue;
        }
        let again = node.has_run();
        for source in node.sources()? {
            match source {
                Source::Node(n, output) if n.storage(output).is_none() => stack.push(n),
                Source::Variable(v, version) if again && v.version() != version => {
                    return Err(Error::Updated { variable: v.name().to_string() });
                }
                Source::Leaf(leaf) => {
                    leaf.storage.as_ref().map_err(Clone::clone)?;
                }
                _ => {}
            }
        }
        needed.insert(node.id, node);
    }
    let mut nodes: Vec<Arc<Node>> = needed.into_values().collect();
    nodes.sort_unstable_by_key(|n| n.id);
    Ok(nodes)
}

/// A listing with the values it is to be run on.
struct Collected {
    listing: Listing,
    leaves: Vec<Storage>,
    scalars: Vec<Scalar>,
    /// What each leaf is: a value's id, and which result of a node it is.
    keys: Vec<(u64, usize)>,
    /// Node index and output of each held value, in the listing's order.
    held: Vec<(usize, usize)>,
}

fn leaf_key(leaf: &Leaf) -> (u64, usize) {
    (leaf.id, usize::MAX)
}

fn collect(nodes: &[Arc<Node>]) -> Result<Collected> {
    let index: HashMap<u64, usize> = nodes.iter().enumerate().map(|(i, n)| (n.id, i)).collect();
    let mut c = Collected {
        listing: Listing::default(),
        leaves: vec![],
        scalars: vec![],
        keys: vec![],
        held: vec![],
    };
    let mut seen: HashMap<(u64, usize), usize> = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        let mut inputs = Vec::new();
        for source in node.sources()? {
            let mut leaf = |key, spec, storage: Storage| {
                let next = c.leaves.len();
                let at = *seen.entry(key).or_insert(next);
                if at == next {
                    c.leaves.push(storage);
                    c.keys.push(key);
                    c.listing.leaves.push(spec);
                }
                Operand::Leaf(at)
            };
            inputs.push(match source {
                Source::Variable(v, _) => Operand::Variable(v.site().clone()),
                Source::Leaf(l) => leaf(leaf_key(&l), l.spec, l.storage.clone()?),
                Source::Node(n, output) => match (index.get(&n.id), n.storage(output)) {
                    (_, Some(storage)) => leaf((n.id, output), n.outputs[output].spec, storage),
                    (Some(&node), None) => Operand::Result { node, output },
                    (None, None) => unreachable!("a node that leads to a needed one is needed"),
                },
            });
        }
        for (output, state) in node.outputs.iter().enumerate() {
            if state.held() && state.storage.lock().unwrap().is_none() {
                c.held.push((i, output));
                c.listing.held.push(Held { node: i, output });
            }
        }
        c.scalars.extend_from_slice(&node.scalars);
        c.listing.nodes.push(Listed {
            op: node.op.clone(),
            inputs,
            outputs: node.outputs.iter().map(|o| o.spec).collect(),
            scalars: node.scalars.len(),
            again: node.again,
            caller: node.caller,
        });
    }
    Ok(c)
}
