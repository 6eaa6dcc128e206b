//! Parameters and buffers of a model: named as in PyTorch, started from a seed, laid out in flat arenas.
//!
//! Layers register what they need while a model is built; nothing is on the device until a value is needed for the first
//! time. Then everything registered so far is laid out side by side in arenas: trainable tensors with two axes or more
//! first, then trainable vectors and scalars, each in the order of registration; buffers lie in arenas of their own.
//! Each tensor starts at a multiple of [`ALIGN`] bytes, with zeros up to the next one.
//!
//! An optimiser updates each longest row of neighbours that belong to one parameter group in one dispatch. The usual
//! split (no weight decay on biases and norms) is the one between the two halves of that order, so it takes two
//! dispatches; any other split is as right and takes more of them.

mod init;

pub use init::{Fan, Init, Nonlinearity, fans};

use crate::checkpoint::{CheckpointError, TensorFile, Tensors};
use crate::device::{Chunk, Device};
use crate::error::{Error, Result};
use crate::grad::Gradients;
use crate::shape::{ALIGN, Shape, Spec};
use crate::tensor::Tensor;
use crate::variable::Variable;
use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// The parameters, buffers and counters of a model. Cheap to clone; all clones are one set.
///
/// ```
/// use recurve::{Device, Init, Params};
/// let p = Params::new(&Device::cpu(), 0);
/// let weight = p.at("fc").param("weight", [10, 84], Init::default_weight());
/// assert_eq!(weight.name(), "fc.weight");
/// assert_eq!(p.elements(), 840);
/// ```
#[derive(Clone)]
pub struct Params(Arc<Shared>);

struct Shared {
    device: Device,
    seed: u64,
    stream: Mutex<Stream>,
    registry: Mutex<Registry>,
}

/// Where the seeds for dropout stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub seed: u64,
    pub drawn: u64,
}

#[derive(Default)]
struct Registry {
    names: HashSet<String>,
    params: Vec<Arc<Registered>>,
    counters: Vec<Counter>,
    arenas: Vec<Arc<Arena>>,
}

/// What was registered, and where it came to lie.
struct Registered {
    name: String,
    shape: Shape,
    trainable: bool,
    init: Mutex<Option<Init>>,
    variable: OnceLock<Result<Arc<Variable>>>,
}

/// Tensors side by side in one chunk.
pub(crate) struct Arena {
    pub chunk: Arc<Chunk>,
    /// The whole chunk as one vector.
    pub flat: Arc<Variable>,
    pub trainable: bool,
    members: Vec<Arc<Registered>>,
}

impl Arena {
    /// An arena without members, filled with zeros.
    pub fn new(device: &Device, bytes: u64, label: &str) -> Result<Self> {
        let chunk = device.new_chunk(bytes, label)?;
        let flat = Variable::new(device, &chunk, 0, Shape::from(bytes as usize / 4), label, false);
        Ok(Arena { chunk, flat, trainable: false, members: Vec::new() })
    }

    /// The part from byte `start` to byte `end` as a vector.
    pub fn part(&self, device: &Device, start: u64, end: u64) -> Arc<Variable> {
        let shape = Shape::from((end - start) as usize / 4);
        Variable::new(device, &self.chunk, start, shape, self.chunk.label(), self.trainable)
    }
}

/// A place in the tree of names: what is registered here gets the scope's name in front, joined by a dot.
#[derive(Clone)]
pub struct Scope {
    shared: Arc<Shared>,
    prefix: String,
}

/// A trainable parameter or a buffer. Cheap to clone.
#[derive(Clone)]
pub struct Param {
    registered: Arc<Registered>,
    shared: Arc<Shared>,
}

/// A number that is kept on the host and saved with the model, such as `num_batches_tracked`.
#[derive(Clone)]
pub struct Counter {
    name: String,
    value: Arc<AtomicU64>,
}

/// Seeds for dropout: every call brings another one, and a checkpoint keeps how many came.
#[derive(Clone)]
pub struct Seeds(Arc<Shared>);

/// How strictly a file must fit the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Match {
    /// Every tensor of the model is in the file and the other way round. Optimiser state is left aside.
    #[default]
    Strict,
    /// What is in both is loaded; shapes must agree.
    Partial,
}

/// What a load found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Tensors of the model that the file does not have.
    pub missing: Vec<String>,
    /// Tensors of the file that the model does not have.
    pub unexpected: Vec<String>,
}

impl Params {
    /// An empty set; `seed` and a parameter's name give its initial values.
    pub fn new(device: &Device, seed: u64) -> Self {
        let stream = Mutex::new(Stream { seed, drawn: 0 });
        Params(Arc::new(Shared { device: device.clone(), seed, stream, registry: Mutex::default() }))
    }

    /// The device that the tensors live on.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// The scope without a name.
    pub fn root(&self) -> Scope {
        Scope { shared: self.0.clone(), prefix: String::new() }
    }

    /// The scope `name`; dots make scopes within scopes.
    ///
    /// # Panics
    /// As [`Scope::at`].
    #[track_caller]
    pub fn at(&self, name: &str) -> Scope {
        self.root().at(name)
    }

    /// Trainable parameters and buffers, in the order of registration.
    pub fn named(&self) -> Vec<Param> {
        let registry = self.0.registry.lock().unwrap();
        let param = |r: &Arc<Registered>| Param { registered: r.clone(), shared: self.0.clone() };
        registry.params.iter().map(param).collect()
    }

    /// The parameter or buffer called `name`.
    pub fn get(&self, name: &str) -> Option<Param> {
        self.named().into_iter().find(|p| p.name() == name)
    }

    /// Counters, in the order of registration.
    pub fn counters(&self) -> Vec<Counter> {
        self.0.registry.lock().unwrap().counters.clone()
    }

    /// The number of trainable values.
    pub fn elements(&self) -> usize {
        self.named().iter().filter(|p| p.trainable()).map(|p| p.shape().elements()).sum()
    }

    /// Lays out everything registered so far. Needs to be called by nobody: the first use of a value does it.
    ///
    /// # Errors
    /// [`Error::TensorTooLarge`] when a tensor is above the device's limit, [`Error::OutOfMemory`].
    pub fn seal(&self) -> Result<()> {
        self.0.seal()
    }

    /// All arenas, each with its members.
    pub(crate) fn arenas(&self) -> Result<Vec<(Arc<Arena>, Vec<Param>)>> {
        self.seal()?;
        let registry = self.0.registry.lock().unwrap();
        let param = |r: &Arc<Registered>| Param { registered: r.clone(), shared: self.0.clone() };
        Ok(registry.arenas.iter().map(|a| (a.clone(), a.members.iter().map(param).collect())).collect())
    }

    /// Arenas of trainable tensors, each with its members.
    pub(crate) fn trainable_arenas(&self) -> Result<Vec<(Arc<Arena>, Vec<Param>)>> {
        let mut arenas = self.arenas()?;
        arenas.retain(|(arena, _)| arena.trainable);
        Ok(arenas)
    }

    pub(crate) fn stream(&self) -> Stream {
        *self.0.stream.lock().unwrap()
    }

    pub(crate) fn set_stream(&self, stream: Stream) {
        *self.0.stream.lock().unwrap() = stream;
    }

    /// All values: parameters and buffers as F32, counters as I64, under their names.
    ///
    /// # Errors
    /// Whatever stopped the computation: see [`Error`].
    pub(crate) async fn collect(&self, tensors: &mut Tensors) -> Result<()> {
        self.seal()?;
        let arenas = self.0.registry.lock().unwrap().arenas.clone();
        for arena in arenas {
            let values = arena.flat.tensor().to_vec_async().await?;
            for member in &arena.members {
                if let Some(Ok(variable)) = member.variable.get() {
                    let start = variable.offset() as usize / 4;
                    tensors.f32(&member.name, member.shape, &values[start..start + member.shape.elements()]);
                }
            }
        }
        for counter in self.counters() {
            tensors.i64(&counter.name, counter.get() as i64);
        }
        Ok(())
    }

    /// Saves parameters, buffers and counters as safetensors. The file is replaced in one go.
    ///
    /// # Errors
    /// [`CheckpointError::Io`] when the file cannot be written, and whatever stopped the computation.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        let bytes = pollster::block_on(self.to_bytes())?;
        crate::checkpoint::write_atomically(path.as_ref(), &bytes)?;
        Ok(())
    }

    /// What [`save`](Params::save) writes.
    ///
    /// # Errors
    /// Whatever stopped the computation: see [`Error`].
    pub async fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut tensors = Tensors::default();
        self.collect(&mut tensors).await?;
        Ok(tensors.to_bytes(None)?)
    }

    /// Loads parameters, buffers and counters from safetensors (F32; F64, F16 and BF16 are converted), or from a
    /// checkpoint. Either all of it is loaded or nothing.
    ///
    /// # Errors
    /// [`CheckpointError`] when the file is not sound or does not fit: [`CheckpointError::Mismatch`] lists every
    /// difference.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        self.load_matching(path, Match::Strict).map(drop)
    }

    /// [`load`](Params::load) with a choice of how strictly the file must fit.
    ///
    /// # Errors
    /// As `load`.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load_matching(&self, path: impl AsRef<std::path::Path>, how: Match) -> Result<Loaded> {
        let mut file = TensorFile::open(path.as_ref())?;
        self.load_tensors(&mut file, how)
    }

    /// [`load`](Params::load) from memory.
    ///
    /// # Errors
    /// As `load`.
    pub fn load_bytes(&self, bytes: &[u8], how: Match) -> Result<Loaded> {
        let mut file = TensorFile::new(std::io::Cursor::new(bytes), bytes.len() as u64)?;
        self.load_tensors(&mut file, how)
    }

    fn load_tensors<R: std::io::Read + std::io::Seek>(
        &self,
        file: &mut TensorFile<R>,
        how: Match,
    ) -> Result<Loaded> {
        self.stage(file, how)?.apply()
    }

    /// Reads and checks everything without changing anything yet.
    pub(crate) fn stage<R: std::io::Read + std::io::Seek>(
        &self,
        file: &mut TensorFile<R>,
        how: Match,
    ) -> Result<Staged> {
        self.seal()?;
        let mut staged = Staged::default();
        let mut known = HashSet::new();
        let mut misshapen = Vec::new();
        for param in self.named() {
            known.insert(param.name().to_string());
            match file.shape(param.name()) {
                None => staged.loaded.missing.push(param.name().to_string()),
                Some(shape) if shape != param.shape().dims() => {
                    let (file, model) = (shape.to_vec(), param.shape());
                    misshapen.push(format!("{} is {file:?} in the file, {model} in the model", param.name()));
                }
                Some(_) => staged.values.push((param.clone(), file.f32(param.name())?)),
            }
        }
        for counter in self.counters() {
            known.insert(counter.name.clone());
            match file.shape(&counter.name) {
                None => staged.loaded.missing.push(counter.name.clone()),
                Some([]) => staged.counts.push((counter.clone(), file.count(&counter.name)?)),
                Some(shape) => {
                    misshapen.push(format!("{} is {shape:?} in the file, [] in the model", counter.name))
                }
            }
        }
        let foreign = file.names().filter(|n| !crate::checkpoint::is_state(n) && !known.contains(*n));
        staged.loaded.unexpected = foreign.map(str::to_string).collect();
        let Loaded { missing, unexpected } = &staged.loaded;
        let strict = how == Match::Strict && !(missing.is_empty() && unexpected.is_empty());
        if strict || !misshapen.is_empty() {
            let (missing, unexpected) = (missing.clone(), unexpected.clone());
            return Err(CheckpointError::Mismatch { missing, unexpected, misshapen }.into());
        }
        Ok(staged)
    }
}

/// Values that were read and fit, not yet loaded.
#[derive(Default)]
pub(crate) struct Staged {
    values: Vec<(Param, Vec<f32>)>,
    counts: Vec<(Counter, u64)>,
    loaded: Loaded,
}

impl Staged {
    pub fn apply(self) -> Result<Loaded> {
        for (param, values) in &self.values {
            param.set(values)?;
        }
        self.counts.iter().for_each(|(counter, value)| counter.set(*value));
        Ok(self.loaded)
    }
}

impl Shared {
    fn seal(&self) -> Result<()> {
        let mut registry = self.registry.lock().unwrap();
        let open = |r: &&Arc<Registered>| r.variable.get().is_none();
        let mut open: Vec<Arc<Registered>> = registry.params.iter().filter(open).cloned().collect();
        if open.is_empty() {
            return registry.params.iter().try_for_each(|r| match r.variable.get() {
                Some(Err(error)) => Err(error.clone()),
                _ => Ok(()),
            });
        }
        // Buffers last, matrices and filters before vectors; stable, so in the order of registration otherwise.
        open.sort_by_key(|r| (!r.trainable, r.shape.rank() < 2));
        let mut rest = &open[..];
        while !rest.is_empty() {
            let members = self.next_arena(rest);
            match self.lay_out(members) {
                Ok(arena) => registry.arenas.push(Arc::new(arena)),
                Err(error) => {
                    for r in rest {
                        let _ = r.variable.set(Err(error.clone()));
                    }
                    return Err(error);
                }
            }
            rest = &rest[members.len()..];
        }
        Ok(())
    }

    /// The longest start of `rest` that fits one chunk and is of one kind; at least one tensor.
    fn next_arena<'r>(&self, rest: &'r [Arc<Registered>]) -> &'r [Arc<Registered>] {
        let limit = self.device.max_chunk();
        let mut bytes = 0u64;
        let fits = |r: &&Arc<Registered>| {
            bytes = bytes.saturating_add(r.bytes());
            r.trainable == rest[0].trainable && bytes <= limit
        };
        let count = rest.iter().take_while(fits).count();
        &rest[..count.max(1)]
    }

    fn lay_out(&self, members: &[Arc<Registered>]) -> Result<Arena> {
        let bytes: u64 = members.iter().map(|r| r.bytes()).sum();
        let limit = self.device.max_chunk();
        if bytes > limit {
            return Err(Error::TensorTooLarge { spec: Spec::f32(members[0].shape), bytes, limit });
        }
        let trainable = members[0].trainable;
        let mut arena = Arena::new(&self.device, bytes, if trainable { "parameters" } else { "buffers" })?;
        let mut values = Vec::with_capacity(bytes as usize / 4);
        let mut offset = 0;
        for r in members {
            let init = r.init.lock().unwrap().take();
            values.extend(init.map(|init| init.values(r.shape, self.seed, &r.name)).unwrap_or_default());
            let variable = Variable::new(&self.device, &arena.chunk, offset, r.shape, &r.name, trainable);
            let _ = r.variable.set(Ok(variable));
            offset += r.bytes();
            values.resize(offset as usize / 4, 0.0);
        }
        self.device.write_chunk(&arena.chunk, 0, &values)?;
        arena.trainable = trainable;
        arena.members = members.to_vec();
        Ok(arena)
    }
}

impl Registered {
    /// Bytes in an arena; at least one unit, so that no two tensors start at the same place.
    fn bytes(&self) -> u64 {
        Spec::f32(self.shape).padded_bytes().max(ALIGN)
    }
}

impl Scope {
    /// The scope `name` within this one.
    ///
    /// # Panics
    /// When the name is empty or has a slash, which checkpoints use for optimiser state.
    #[track_caller]
    pub fn at(&self, name: &str) -> Scope {
        Scope { shared: self.shared.clone(), prefix: self.join(name) }
    }

    /// The device that tensors registered here live on.
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    #[track_caller]
    fn join(&self, name: &str) -> String {
        assert!(!name.is_empty() && !name.contains('/'), "{name:?} cannot be a parameter's name");
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }

    #[track_caller]
    fn register(&self, name: &str, shape: Shape, init: Init, trainable: bool) -> Param {
        let name = self.join(name);
        init.check(shape);
        let mut registry = self.shared.registry.lock().unwrap();
        let new = registry.names.insert(name.clone());
        let registered =
            Registered { name, shape, trainable, init: Mutex::new(Some(init)), variable: OnceLock::new() };
        let registered = Arc::new(registered);
        if new {
            registry.params.push(registered.clone());
        }
        drop(registry);
        assert!(new, "two parameters are called {:?}", registered.name);
        Param { registered, shared: self.shared.clone() }
    }

    /// Registers a trainable parameter.
    ///
    /// # Panics
    /// When the name is taken, empty or has a slash.
    #[track_caller]
    pub fn param(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Param {
        self.register(name, shape.into(), init, true)
    }

    /// Registers a tensor that is saved with the model but not trained, such as `running_mean`.
    ///
    /// # Panics
    /// As [`param`](Scope::param).
    #[track_caller]
    pub fn buffer(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Param {
        self.register(name, shape.into(), init, false)
    }

    /// Registers a counter on the host, at 0. Files keep it as an I64 without axes.
    ///
    /// # Panics
    /// As [`param`](Scope::param).
    #[track_caller]
    pub fn counter(&self, name: &str) -> Counter {
        let counter = Counter { name: self.join(name), value: Arc::default() };
        let mut registry = self.shared.registry.lock().unwrap();
        let new = registry.names.insert(counter.name.clone());
        if new {
            registry.counters.push(counter.clone());
        }
        drop(registry);
        assert!(new, "two parameters are called {:?}", counter.name);
        counter
    }

    /// Seeds for dropout; all of one set of parameters count together.
    pub fn seeds(&self) -> Seeds {
        Seeds(self.shared.clone())
    }
}

impl Param {
    /// The full name, such as `layer1.0.conv1.weight`.
    pub fn name(&self) -> &str {
        &self.registered.name
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> Shape {
        self.registered.shape
    }

    /// Whether it is trained; buffers are not.
    pub fn trainable(&self) -> bool {
        self.registered.trainable
    }

    /// The variable on the device. Lays out everything registered so far when that has not happened yet.
    ///
    /// # Errors
    /// As [`Params::seal`].
    pub fn variable(&self) -> Result<Arc<Variable>> {
        if self.registered.variable.get().is_none() {
            // An error is kept in the cell too; each parameter returns its own.
            let _ = self.shared.seal();
        }
        self.registered.variable.get().expect("sealing settles every parameter").clone()
    }

    /// The present value. A failure to lay out the parameters is returned by the next call on the tensor that returns
    /// a `Result`.
    pub fn tensor(&self) -> Tensor {
        match self.variable() {
            Ok(variable) => variable.tensor(),
            Err(error) => Tensor::failed(&self.shared.device, Spec::f32(self.shape()), error),
        }
    }

    /// The gradient with respect to this parameter; `None` when the value does not depend on it.
    pub fn gradient(&self, gradients: &Gradients) -> Option<Tensor> {
        gradients.wrt(&self.tensor())
    }

    /// Replaces the value; earlier reads on this thread see the old one.
    ///
    /// # Errors
    /// Whatever stopped pending work, or the device's failure.
    ///
    /// # Panics
    /// When the number of values is not the number of elements.
    pub fn set(&self, values: &[f32]) -> Result<()> {
        self.variable()?.set(values)
    }
}

impl Counter {
    /// The full name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.value.store(value, Ordering::Release);
    }

    /// Counts one more, and returns the new value.
    pub fn increment(&self) -> u64 {
        self.value.fetch_add(1, Ordering::AcqRel) + 1
    }
}

impl Seeds {
    /// The next seed: a function of the seed of [`Params::new`] and of how many came before
    /// (SplitMix64, Steele et al., 2014).
    pub fn draw(&self) -> u64 {
        let mut stream = self.0.stream.lock().unwrap();
        stream.drawn = stream.drawn.wrapping_add(1);
        let mut z = stream.seed.wrapping_add(stream.drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.named()).finish()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({:?})", self.prefix)
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.shape())
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name, self.get())
    }
}

impl fmt::Debug for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seeds({:?})", self.0.stream.lock().unwrap())
    }
}
