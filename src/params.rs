//! Parameters and buffers of a model: named as in PyTorch, started from a seed, laid out in flat arenas.
//!
//! Layers register what they need while a model is built; nothing is on the device until a value is needed for the first
//! time. Then everything registered so far is laid out side by side in arenas: trainable tensors with two axes or more
//! first, then trainable vectors and scalars, each in the order of registration; buffers lie in arenas of their own.
//! Each tensor starts at a multiple of [`ALIGN`](crate::shape::ALIGN) bytes, with zeros up to the next one.
//!
//! An optimiser updates each longest row of neighbours that belong to one parameter group in one dispatch. The usual
//! split (no weight decay on biases and norms) is the one between the two halves of that order, so it takes two
//! dispatches; any other split is as right and takes more of them.

mod arena;
mod init;
mod load;
mod param;
mod scope;

pub(crate) use arena::Arena;
pub use init::{Fan, Init, Nonlinearity, fans};
pub use load::{Loaded, Match};

use crate::device::Device;
use crate::error::Result;
use crate::shape::Shape;
use crate::variable::Variable;
use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::AtomicU64;
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
    /// [`Error::TensorTooLarge`](crate::Error::TensorTooLarge) when a tensor is above the device's limit,
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
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
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.named()).finish()
    }
}
