//! A box that hides what it holds from those who ask whether a tensor may go to another thread: compilers give up on that
//! question at some depth, and wgpu's own types would take up most of it.

use std::ops::{Deref, DerefMut};

trait Hidden<T>: wgpu::WasmNotSendSync {
    fn get(&self) -> &T;
    fn get_mut(&mut self) -> &mut T;
    fn take(self: Box<Self>) -> T;
}

impl<T: wgpu::WasmNotSendSync> Hidden<T> for T {
    fn get(&self) -> &T {
        self
    }

    fn get_mut(&mut self) -> &mut T {
        self
    }

    fn take(self: Box<Self>) -> T {
        *self
    }
}

/// Something of a GPU, `Send` and `Sync` where it is that itself.
pub(crate) struct Opaque<T>(Box<dyn Hidden<T>>);

impl<T: wgpu::WasmNotSendSync + 'static> Opaque<T> {
    pub fn new(value: T) -> Self {
        Opaque(Box::new(value))
    }
}

impl<T> Opaque<T> {
    pub fn take(self) -> T {
        self.0.take()
    }
}

impl<T> Deref for Opaque<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().get()
    }
}

impl<T> DerefMut for Opaque<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().get_mut()
    }
}
