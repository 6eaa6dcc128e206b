//! Devices that only plan, and what memory a device takes.

use super::{Device, Engine};
use crate::gpu;
use crate::kernel::Target;
use crate::memory::Memory;

impl Device {
    /// A device that plans exactly as this one does (the same limits, kernels, fusion, slots and textures) and does nothing:
    /// no initial value is drawn, nothing is uploaded, no buffer is created, nothing is computed. The code that trains on
    /// this device runs on it in a fraction of the time and the memory, and [`memory`](Device::memory) and
    /// [`explain`](Device::explain) say what it would take. Reading a value is an
    /// [`Error::PlanOnly`](crate::Error::PlanOnly).
    ///
    /// This device is not touched. After [`tune`](Device::tune), the planner knows the kernels that were measured so far,
    /// and measures nothing itself. The CPU reference chooses no kernels; its planner is one for
    /// [WebGPU's default limits](Target::WEBGPU_DEFAULT).
    pub fn planner(&self) -> Device {
        let Some(target) = self.target() else { return Device::planning(&Target::WEBGPU_DEFAULT) };
        let planner = Device::new(Engine::Plan(Box::new(gpu::Planner::new(self.name(), target.clone()))));
        #[cfg(not(target_arch = "wasm32"))]
        planner.tune_as(self);
        planner
    }

    /// A [`planner`](Device::planner) for a GPU that is not there.
    pub fn planning(target: &Target) -> Device {
        let name = format!("a {:?} adapter", target.class).to_lowercase();
        Device::new(Engine::Plan(Box::new(gpu::Planner::new(name, target.clone()))))
    }

    /// Whether this device only plans.
    pub fn only_plans(&self) -> bool {
        matches!(self.0.engine, Engine::Plan(_))
    }

    /// What memory this device takes now, and for what: every buffer and texture is counted where it is created, until it
    /// is dropped. On a [`planner`](Device::planner), what a device would take. The CPU reference has no such objects; of it
    /// there are the programs only.
    pub fn memory(&self) -> Memory {
        let (parts, most, allocated) = match &self.0.engine {
            Engine::Cpu(_) => (Vec::new(), 0, None),
            Engine::Gpu(gpu) => gpu.memory(),
            Engine::Plan(planner) => {
                let (parts, most) = planner.memory();
                (parts, most, None)
            }
        };
        let programs = self.plans().memory();
        Memory { device: self.name(), planned: self.only_plans(), parts, most, programs, allocated }
    }
}
