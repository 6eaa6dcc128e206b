//! Golden cases of pooling, through the layers.

use super::{Computed, Stage};
use recurve::Result;
use recurve::nn::{AdaptiveAvgPool1d, AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d};
use recurve::ops::avg_pool1d::AvgPool1dConfig;
use recurve::ops::avg_pool2d::AvgPool2dConfig;
use recurve::ops::max_pool1d::MaxPool1dConfig;
use recurve::ops::max_pool2d::MaxPool2dConfig;

pub fn max_pool1d(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let one = |name| g.counts::<1>(name)[0];
    let config = MaxPool1dConfig {
        stride: Some(one("stride")),
        padding: one("padding"),
        dilation: one("dilation"),
        ceil_mode: g.flag("ceil_mode"),
    };
    let x = s.input("x");
    let y = MaxPool1d::new(one("kernel"), config).forward(&x);
    let indices = x.max_pool1d_indices(one("kernel"), config);
    s.finish(&[("y", &y), ("indices", &indices)])
}

pub fn max_pool2d(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let config = MaxPool2dConfig {
        stride: Some(g.counts("stride")),
        padding: g.counts("padding"),
        dilation: g.counts("dilation"),
        ceil_mode: g.flag("ceil_mode"),
    };
    let x = s.input("x");
    let y = MaxPool2d::new(g.counts("kernel"), config).forward(&x);
    let indices = x.max_pool2d_indices(g.counts("kernel"), config);
    s.finish(&[("y", &y), ("indices", &indices)])
}

pub fn avg_pool1d(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let one = |name| g.counts::<1>(name)[0];
    let config = AvgPool1dConfig {
        stride: Some(one("stride")),
        padding: one("padding"),
        ceil_mode: g.flag("ceil_mode"),
        count_include_pad: g.flag("count_include_pad"),
    };
    s.finish(&[("y", &AvgPool1d::new(one("kernel"), config).forward(&s.input("x")))])
}

pub fn avg_pool2d(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let config = AvgPool2dConfig {
        stride: Some(g.counts("stride")),
        padding: g.counts("padding"),
        ceil_mode: g.flag("ceil_mode"),
        count_include_pad: g.flag("count_include_pad"),
        divisor_override: None,
    };
    s.finish(&[("y", &AvgPool2d::new(g.counts("kernel"), config).forward(&s.input("x")))])
}

pub fn adaptive_avg_pool1d(s: &Stage<'_>) -> Result<Computed> {
    let [output_size] = s.golden.counts("output_size");
    s.finish(&[("y", &AdaptiveAvgPool1d::new(output_size).forward(&s.input("x")))])
}

pub fn adaptive_avg_pool2d(s: &Stage<'_>) -> Result<Computed> {
    let output_size: [usize; 2] = s.golden.counts("output_size");
    s.finish(&[("y", &AdaptiveAvgPool2d::new(output_size).forward(&s.input("x")))])
}
