//! Golden cases of convolutions, through the layers.

use super::{Computed, Stage};
use recurve::nn::{Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d};
use recurve::ops::conv_transpose1d::ConvTranspose1dConfig;
use recurve::ops::conv_transpose2d::ConvTranspose2dConfig;
use recurve::ops::conv1d::Conv1dConfig;
use recurve::ops::conv2d::Conv2dConfig;
use recurve::{Params, Result};

/// Channels of what a case's layer takes and gives.
fn channels(s: &Stage<'_>) -> [usize; 2] {
    ["x", "y"].map(|name| s.stored(name).shape[1])
}

pub fn conv1d(s: &Stage<'_>) -> Result<Computed> {
    let (g, params, [c, k]) = (s.golden, Params::new(s.device, 0), channels(s));
    let ([stride], [dilation], [kernel]) = (g.counts("stride"), g.counts("dilation"), g.counts("kernel"));
    let padding = g.counts::<2>("pads").into();
    let config = Conv1dConfig { stride, padding, dilation, groups: g.count("groups") };
    let new = if g.flag("bias") { Conv1d::new } else { Conv1d::without_bias };
    let layer = new(&params.root(), c, k, kernel, config);
    s.load(&params)?;
    s.finish(&[("y", &layer.forward(&s.input("x")))])
}

pub fn conv2d(s: &Stage<'_>) -> Result<Computed> {
    let (g, params, [c, k]) = (s.golden, Params::new(s.device, 0), channels(s));
    let [top, left, bottom, right] = g.counts("pads");
    let config = Conv2dConfig {
        stride: g.counts("stride"),
        padding: [[top, bottom], [left, right]].into(),
        dilation: g.counts("dilation"),
        groups: g.count("groups"),
    };
    let kernel: [usize; 2] = g.counts("kernel");
    let new = if g.flag("bias") { Conv2d::new } else { Conv2d::without_bias };
    let layer = new(&params.root(), c, k, kernel, config);
    s.load(&params)?;
    s.finish(&[("y", &layer.forward(&s.input("x")))])
}

pub fn conv_transpose1d(s: &Stage<'_>) -> Result<Computed> {
    let (g, params, [c, k]) = (s.golden, Params::new(s.device, 0), channels(s));
    let only = |name: &str| g.counts::<1>(name)[0];
    let config = ConvTranspose1dConfig {
        stride: only("stride"),
        padding: only("padding"),
        output_padding: only("output_padding"),
        dilation: only("dilation"),
        groups: g.count("groups"),
    };
    let new = if g.flag("bias") { ConvTranspose1d::new } else { ConvTranspose1d::without_bias };
    let layer = new(&params.root(), c, k, only("kernel"), config);
    s.load(&params)?;
    s.finish(&[("y", &layer.forward(&s.input("x")))])
}

pub fn conv_transpose2d(s: &Stage<'_>) -> Result<Computed> {
    let (g, params, [c, k]) = (s.golden, Params::new(s.device, 0), channels(s));
    let config = ConvTranspose2dConfig {
        stride: g.counts("stride"),
        padding: g.counts("padding"),
        output_padding: g.counts("output_padding"),
        dilation: g.counts("dilation"),
        groups: g.count("groups"),
    };
    let kernel: [usize; 2] = g.counts("kernel");
    let new = if g.flag("bias") { ConvTranspose2d::new } else { ConvTranspose2d::without_bias };
    let layer = new(&params.root(), c, k, kernel, config);
    s.load(&params)?;
    s.finish(&[("y", &layer.forward(&s.input("x")))])
}
