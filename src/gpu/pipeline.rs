//! Pipelines, made once per kernel and baked constants; missing ones are made in parallel.

use super::counted::Made;
use super::fault::Funnel;
use super::shader::{self, Const};
use super::texels;
use crate::error::{Error, Result};
use crate::kernel::{Access, Author, Dispatch, KernelRef, TargetClass};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// A compiled kernel with the layout of its bind group.
pub(crate) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

/// The bindings that are read as textures.
pub(super) type Textures = Vec<(usize, wgpu::TextureFormat)>;

type Key = (KernelRef, Vec<(&'static str, Const)>, Textures);

/// What a binding is, for a layout.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Bound {
    Buffer(Access),
    Texture(wgpu::TextureFormat),
}

/// The pipelines of a device.
pub(crate) struct Pipelines {
    device: wgpu::Device,
    funnel: Arc<Funnel>,
    made: Arc<Made>,
    /// Whether the driver takes calls of one thread only.
    #[cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "a browser has one thread"))]
    one_by_one: bool,
    /// Whether shaders run on the CPU.
    software: bool,
    ready: Mutex<HashMap<Key, Arc<Pipeline>>>,
    layouts: Mutex<HashMap<Vec<Bound>, (wgpu::BindGroupLayout, wgpu::PipelineLayout)>>,
}

impl Pipelines {
    pub fn new(
        device: &wgpu::Device,
        funnel: &Arc<Funnel>,
        made: &Arc<Made>,
        one_by_one: bool,
        class: TargetClass,
    ) -> Self {
        Pipelines {
            device: device.clone(),
            funnel: funnel.clone(),
            made: made.clone(),
            one_by_one,
            software: class == TargetClass::Software,
            ready: Mutex::default(),
            layouts: Mutex::default(),
        }
    }

    /// The pipelines of `dispatches`, in their order. Beside each stand the bindings that it reads as textures.
    pub fn get(&self, dispatches: &[(&Dispatch, Textures)]) -> Result<Vec<Arc<Pipeline>>> {
        let key =
            |(d, textures): &(&Dispatch, Textures)| (d.kernel.clone(), d.consts.clone(), textures.clone());
        let mut missing: Vec<Key> = Vec::new();
        {
            let ready = self.ready.lock().unwrap();
            for key in dispatches.iter().map(key) {
                if !ready.contains_key(&key) && !missing.contains(&key) {
                    missing.push(key);
                }
            }
        }
        let made = self.make_all(&missing)?;
        let mut ready = self.ready.lock().unwrap();
        ready.extend(missing.into_iter().zip(made));
        Ok(dispatches.iter().map(|d| ready[&key(d)].clone()).collect())
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn make_all(&self, keys: &[Key]) -> Result<Vec<Arc<Pipeline>>> {
        let cores =
            if self.one_by_one { 1 } else { std::thread::available_parallelism().map_or(1, |n| n.get()) };
        let per_thread = keys.len().div_ceil(cores).max(1);
        std::thread::scope(|scope| {
            let make = |part: &'_ [Key]| part.iter().map(|k| self.make(k)).collect::<Vec<_>>();
            let threads: Vec<_> =
                keys.chunks(per_thread).map(|part| scope.spawn(move || make(part))).collect();
            threads.into_iter().flat_map(|t| t.join().expect("making a pipeline does not panic")).collect()
        })
    }

    #[cfg(target_arch = "wasm32")]
    fn make_all(&self, keys: &[Key]) -> Result<Vec<Arc<Pipeline>>> {
        keys.iter().map(|k| self.make(k)).collect()
    }

    fn make(&self, (kernel, consts, textures): &Key) -> Result<Arc<Pipeline>> {
        let start = crate::clock::now();
        let refused = |message: String| Error::Shader { kernel: kernel.name.to_string(), message };
        let mut text = shader::expand(&kernel.source, consts).map_err(|e| refused(e.to_string()))?;
        if !textures.is_empty() {
            let names: Vec<&str> = textures.iter().map(|&(i, _)| kernel.bindings[i].0).collect();
            text = texels::rewrite(&text, &names);
        }
        if self.software && kernel.author == Author::Recurve {
            text = shader::params_once(&text);
        }
        let (layout, pipeline_layout) = self.layout(kernel, textures);
        // Errors of this thread's calls are caught here, to name the kernel; a browser reports them later.
        #[cfg(not(target_arch = "wasm32"))]
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(&kernel.name),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&kernel.name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            // Kernels write workgroup memory before they read it; zeroing it made one pipeline compile for 77 s.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(refused(error.to_string()));
        }
        self.made.pipelines.fetch_add(1, Ordering::Relaxed);
        self.funnel.check()?;
        log::debug!("pipeline {} {consts:?} made in {:?}", kernel.name, crate::clock::now() - start);
        Ok(Arc::new(Pipeline { pipeline, layout }))
    }

    fn layout(
        &self,
        kernel: &KernelRef,
        textures: &[(usize, wgpu::TextureFormat)],
    ) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
        let bound = |(i, b): (usize, &(_, Access))| match textures.iter().find(|t| t.0 == i) {
            Some(&(_, format)) => Bound::Texture(format),
            None => Bound::Buffer(b.1),
        };
        let accesses: Vec<Bound> = kernel.bindings.iter().enumerate().map(bound).collect();
        let mut layouts = self.layouts.lock().unwrap();
        layouts.entry(accesses).or_insert_with_key(|bound| self.make_layout(bound)).clone()
    }

    fn make_layout(&self, bound: &[Bound]) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
        let buffer = |ty| wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None };
        let entry = |binding: usize, ty| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty,
            count: None,
        };
        let ty = |bound: &Bound| match bound {
            Bound::Buffer(access) => {
                buffer(wgpu::BufferBindingType::Storage { read_only: *access == Access::Read })
            }
            Bound::Texture(format) => wgpu::BindingType::StorageTexture {
                access: wgpu::StorageTextureAccess::ReadOnly,
                format: *format,
                view_dimension: wgpu::TextureViewDimension::D2,
            },
        };
        let uniform = entry(0, buffer(wgpu::BufferBindingType::Uniform));
        let entries: Vec<_> = std::iter::once(uniform)
            .chain(bound.iter().enumerate().map(|(i, b)| entry(i + 1, ty(b))))
            .collect();
        let group = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&group)],
            immediate_size: 0,
        });
        (group, layout)
    }
}
