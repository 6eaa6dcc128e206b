//! Registers what layers need, under names that form a tree.

use super::{Counter, Init, Param, Registered, Scope, Seeds};
use crate::device::Device;
use crate::shape::Shape;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

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

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({:?})", self.prefix)
    }
}
