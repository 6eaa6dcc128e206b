//! Complete networks, with torchvision's names of parameters: a file of its weights loads as it is.

pub mod resnet;

pub use resnet::{ResNet, ResNetConfig};
