//! Complete networks, with torchvision's names of parameters: a file of its weights loads as it is.
//!
//! | module | networks | year |
//! |---|---|---|
//! | [`lenet`] | LeNet-5, with names of its own | 1998 |
//! | [`alexnet`] | AlexNet | 2012 |
//! | [`vgg`] | VGG of 11, 13, 16 and 19 layers, with and without batch norms | 2014 |
//! | [`resnet`] | ResNet, ResNeXt, wide ResNet, and their forms for CIFAR | 2015 |
//!
//! Each has a configuration whose fields can be changed one by one, for other pictures, classes and widths.

pub mod alexnet;
pub mod lenet;
pub mod resnet;
pub mod vgg;

pub use alexnet::{AlexNet, AlexNetConfig};
pub use lenet::{LeNet, LeNetConfig};
pub use resnet::{ResNet, ResNetConfig};
pub use vgg::{Vgg, VggConfig};
