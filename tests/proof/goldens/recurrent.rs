//! Golden cases of recurrent networks, through their layers.

use super::{Computed, Golden, Stage};
use crate::optim_cases;
use recurve::nn::recurrent::Nonlinearity;
use recurve::nn::{Embedding, Gru, Linear, Lstm, LstmOptions, LstmState, Mode, RecurrentConfig, Reset, Rnn};
use recurve::optim::{Clip, Rule};
use recurve::{Adam, Optimizer, Params, Result, Scope, Sgd, Tensor};

/// The network of a case, whatever its cell.
enum Net {
    Rnn(Rnn),
    Lstm(Lstm),
    Gru(Gru),
}

impl Net {
    fn new(scope: &Scope, op: &str, g: &Golden, sizes: [usize; 2], config: RecurrentConfig) -> Net {
        let [input, hidden] = sizes;
        match op {
            "rnn" => {
                let relu = g.attrs["nonlinearity"] == "relu";
                let nonlinearity = if relu { Nonlinearity::Relu } else { Nonlinearity::Tanh };
                Net::Rnn(Rnn::new(scope, input, hidden, nonlinearity, config))
            }
            "lstm" => {
                let proj_size = g.attrs["proj_size"].as_u64().filter(|&p| p > 0).map(|p| p as usize);
                let options = LstmOptions { proj_size, ..Default::default() };
                Net::Lstm(Lstm::new(scope, input, hidden, options, config))
            }
            "gru" => Net::Gru(Gru::new(scope, input, hidden, Reset::AfterProduct, config)),
            "gru_reset_before" => Net::Gru(Gru::new(scope, input, hidden, Reset::BeforeProduct, config)),
            other => panic!("a recurrent network {other}"),
        }
    }

    /// Results, last h, last c.
    fn forward(
        &self,
        x: &Tensor,
        lengths: Option<&[usize]>,
        initial: Option<(Tensor, Option<Tensor>)>,
    ) -> (Tensor, Tensor, Option<Tensor>) {
        let h0 = initial.as_ref().map(|i| &i.0);
        match self {
            Net::Rnn(net) => {
                let (y, h) = match lengths {
                    Some(lengths) => net.forward_lengths(x, lengths, h0, Mode::Eval),
                    None => net.forward(x, h0, Mode::Eval),
                };
                (y, h, None)
            }
            Net::Gru(net) => {
                let (y, h) = match lengths {
                    Some(lengths) => net.forward_lengths(x, lengths, h0, Mode::Eval),
                    None => net.forward(x, h0, Mode::Eval),
                };
                (y, h, None)
            }
            Net::Lstm(net) => {
                let state = initial.map(|(h, c)| LstmState { h, c: c.expect("an LSTM begins with c0") });
                let (y, last) = match lengths {
                    Some(lengths) => net.forward_lengths(x, lengths, state.as_ref(), Mode::Eval),
                    None => net.forward(x, state.as_ref(), Mode::Eval),
                };
                (y, last.h, Some(last.c))
            }
        }
    }
}

pub fn sequence(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let config = RecurrentConfig {
        num_layers: g.count("num_layers"),
        bias: g.flag("bias"),
        batch_first: g.flag("batch_first"),
        bidirectional: g.flag("bidirectional"),
        ..Default::default()
    };
    let params = Params::new(s.device, 0);
    let sizes = [g.count("input_size"), g.count("hidden_size")];
    let net = Net::new(&params.root(), &g.op, g, sizes, config);
    s.load(&params)?;
    let initial = g.flag("initial_state").then(|| (s.input("h0"), s.has("c0").then(|| s.input("c0"))));
    let lengths: Option<Vec<usize>> =
        g.flag("variable_lengths").then(|| s.stored("lengths").data.iter().map(|&l| l as usize).collect());
    let (y, h_n, c_n) = net.forward(&s.input("x"), lengths.as_deref(), initial);
    let mut outputs = vec![("y", &y), ("h_n", &h_n)];
    outputs.extend(c_n.as_ref().map(|c| ("c_n", c)));
    s.finish(&outputs)
}

/// A character model: embedding, recurrent network, dense layer, cross-entropy at every step.
pub fn train_characters(s: &Stage<'_>) -> Result<Computed> {
    let g = s.golden;
    let params = Params::new(s.device, 0);
    let (vocab, emb, hidden) = (g.count("vocab"), g.count("emb"), g.count("hidden"));
    let embedding = Embedding::new(&params.at("emb"), vocab, emb);
    let config =
        RecurrentConfig { num_layers: g.count("layers"), batch_first: true, ..RecurrentConfig::default() };
    let model = g.attrs["model"].as_str().unwrap();
    let net = Net::new(&params.at("rnn"), model, g, [emb, hidden], config);
    let dense = Linear::new(&params.at("fc"), hidden, vocab);
    s.load(&params)?;
    let (x, target) = (s.input("x"), s.input("target"));
    let steps = x.shape().elements();
    let loss = || {
        let (y, ..) = net.forward(&embedding.forward(&x), None, None);
        dense.forward(&y).reshape([steps, vocab]).cross_entropy(&target.reshape([steps]))
    };
    let clip = g.attrs["clip_norm"].as_f64();
    let hyper = &g.attrs["hyper"];
    let (losses, norms) = match g.attrs["optimizer"].as_str().unwrap() {
        "sgd" => train(g.count("steps"), loss, clip, Sgd::new(&params, optim_cases::sgd(hyper)))?,
        "adam" => train(g.count("steps"), loss, clip, Adam::new(&params, optim_cases::adam(hyper)))?,
        other => panic!("optimiser {other}"),
    };
    let mut computed: Computed = vec![("losses".into(), losses), ("grad_norms".into(), norms)];
    for param in params.named() {
        computed.push((format!("final.{}", param.name()), param.tensor().to_vec_f64()?));
    }
    Ok(computed)
}

/// Losses, and norms of the gradients before they are clipped.
fn train<R: Rule>(
    steps: usize,
    loss: impl Fn() -> Tensor,
    clip: Option<f64>,
    mut optimizer: Optimizer<R>,
) -> Result<(Vec<f64>, Vec<f64>)> {
    optimizer.set_clip(clip.map(|max_norm| Clip::Norm { max_norm, norm_type: 2.0 }));
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let loss = loss();
        optimizer.step(&loss.backward())?;
        losses.push(loss.to_vec_f64()?[0]);
        if let Some(norm) = optimizer.grad_norm() {
            norms.push(norm.to_vec_f64()?[0]);
        }
    }
    Ok((losses, norms))
}
