//! Listing, choosing and opening adapters. Capabilities and limits are read here, once.

use super::Engine;
use crate::device::Pick;
use crate::error::{Error, Result};
use crate::kernel::{MAX_GROUPS, Target, TargetClass};
use std::fmt;

/// One adapter that this machine offers.
#[derive(Clone)]
pub struct AdapterEntry {
    adapter: wgpu::Adapter,
    info: wgpu::AdapterInfo,
}

/// All adapters, hardware first; the order is the order in which [`Pick::Best`] tries them.
pub async fn adapters() -> Vec<AdapterEntry> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    // Vulkan's validation layers, where installed, must not be able to change results or speed.
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    let instance = wgpu::Instance::new(descriptor);
    let mut entries: Vec<AdapterEntry> =
        (instance.enumerate_adapters(wgpu::Backends::all()).await.into_iter())
            .map(|adapter| AdapterEntry { info: adapter.get_info(), adapter })
            .filter(|entry| entry.computes())
            .collect();
    entries.sort_by_key(AdapterEntry::rank);
    entries
}

/// The first adapter that fits `pick`.
pub(crate) async fn find(pick: &Pick) -> Result<AdapterEntry> {
    let all = adapters().await;
    let names: Vec<String> = all.iter().map(|a| a.name().to_string()).collect();
    let fits = |a: &AdapterEntry| match pick {
        Pick::Best => true,
        Pick::Gpu => a.class() == TargetClass::Hardware,
        Pick::Software => a.class() == TargetClass::Software,
        Pick::Cpu => false,
        Pick::Named(text) => a.to_string().to_lowercase().contains(&text.to_lowercase()),
    };
    all.into_iter().find(fits).ok_or_else(|| {
        let found = match names.is_empty() {
            true => "this machine offers no adapter".to_string(),
            false => format!("this machine offers: {}", names.join(", ")),
        };
        let advice = format!(
            "{found}; install a GPU driver with Vulkan, or a software one \
             (Debian: apt-get install mesa-vulkan-drivers), or take the CPU reference with RECURVE_DEVICE=cpu"
        );
        Error::NoAdapter { wanted: pick.to_string(), advice }
    })
}

impl AdapterEntry {
    /// The adapter's own name.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// Whether shaders run on a GPU or on the CPU.
    pub fn class(&self) -> TargetClass {
        match self.info.device_type {
            wgpu::DeviceType::Cpu => TargetClass::Software,
            // OpenGL does not say what it runs on; Mesa's software renderer does so by its name.
            _ if self.info.name.contains("llvmpipe") || self.info.name.contains("SwiftShader") => {
                TargetClass::Software
            }
            _ => TargetClass::Hardware,
        }
    }

    /// The programming interface: `Vulkan`, `Metal`, `Dx12`, `Gl`, `BrowserWebGpu`.
    pub fn backend(&self) -> String {
        format!("{:?}", self.info.backend)
    }

    /// Driver name and version.
    pub fn driver(&self) -> String {
        format!("{} {}", self.info.driver, self.info.driver_info).trim().to_string()
    }

    /// What kernels may rely upon.
    pub fn target(&self) -> Target {
        let (features, limits) = (self.features(), self.adapter.limits());
        let subgroup = features
            .contains(wgpu::Features::SUBGROUP)
            .then_some((self.info.subgroup_min_size, self.info.subgroup_max_size));
        let int64 = features.contains(wgpu::Features::SHADER_INT64);
        let llvmpipe = self.info.name.contains("llvmpipe");
        let pair = self.adapter.get_texture_format_features(wgpu::TextureFormat::Rg32Uint);
        Target {
            class: self.class(),
            subgroup,
            int64,
            texel_loads: llvmpipe,
            pair_texels: llvmpipe && pair.allowed_usages.contains(wgpu::TextureUsages::STORAGE_BINDING),
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_binding: limits.max_storage_buffer_binding_size,
            max_buffer: limits.max_buffer_size,
            max_workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_groups: limits.max_compute_workgroups_per_dimension.min(MAX_GROUPS as u32),
        }
    }

    /// The optional features that Recurve makes use of, as far as the adapter has them.
    fn features(&self) -> wgpu::Features {
        let kernels = wgpu::Features::SUBGROUP | wgpu::Features::SHADER_INT64;
        // For profiles; a browser has the first of them only.
        let clocks = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS;
        let wanted = kernels | clocks;
        self.adapter.features() & wanted
    }

    /// Storage buffers in compute shaders are what everything needs; some OpenGL drivers have none.
    fn computes(&self) -> bool {
        let limits = self.adapter.limits();
        limits.max_compute_workgroups_per_dimension > 0 && limits.max_storage_buffers_per_shader_stage >= 8
    }

    fn rank(&self) -> (u8, u8) {
        let class = match self.info.device_type {
            _ if self.class() == TargetClass::Software => 4,
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            _ => 3,
        };
        let backend = match self.info.backend {
            wgpu::Backend::Vulkan | wgpu::Backend::Metal => 0,
            wgpu::Backend::Dx12 | wgpu::Backend::BrowserWebGpu => 1,
            _ => 2,
        };
        (class, backend)
    }

    pub(crate) async fn open(&self) -> Result<Engine> {
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("recurve"),
            required_features: self.features(),
            required_limits: self.adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = (self.adapter.request_device(&descriptor).await)
            .map_err(|e| Error::DeviceRequest { adapter: self.to_string(), message: e.to_string() })?;
        let takes_turns = self.info.backend == wgpu::Backend::Gl;
        Ok(Engine::new(self.to_string(), self.target(), takes_turns, device, queue))
    }
}

impl fmt::Display for AdapterEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.info.name, self.backend(), self.driver())
    }
}

impl fmt::Debug for AdapterEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdapterEntry({self})")
    }
}
