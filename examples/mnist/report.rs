//! What a person wants to see after training, and reading a digit from a picture.

use crate::net::Net;
use crate::options::Options;
use crate::support::digit;
use crate::support::pictures::{self, Layer, Mistake};
use crate::train::{Training, evaluate};
use recurve::data::mnist::{MEAN, STD};
use recurve::nn::Mode;
use recurve::{Device, Params, no_grad};
use std::error::Error;
use std::path::Path;

/// Mistakes shown at most.
const MISTAKES: usize = 40;

/// Evaluates, draws the pictures, and prints the accuracy as the last line.
pub fn finish(training: &mut Training<'_>, options: &Options) -> Result<(), Box<dyn Error>> {
    // A run that was resumed after its last epoch has not evaluated yet.
    let result = match training.evaluation.take() {
        Some(result) => result,
        None => evaluate(&training.dev, &training.net, &training.mnist.test)?,
    };
    let (dev, net, test) = (&training.dev, &training.net, &training.mnist.test);
    let out = |name: &str| options.out.join(name);
    pictures::learning_curve(out("learning_curve.png"), "MNIST", &training.losses, &training.accuracies)?;

    let mut counts = vec![0u32; 100];
    for (&truth, &predicted) in test.labels().iter().zip(&result.predicted) {
        counts[truth as usize * 10 + predicted as usize] += 1;
    }
    let names = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    pictures::confusion_matrix(out("confusion_matrix.png"), "MNIST test set", &counts, &names)?;

    let weight = net.conv1.weight.tensor().to_vec()?;
    pictures::filters(out("filters.png"), "First-layer filters", &weight, [32, 1, 3, 3])?;
    feature_maps(dev, net, &grey(test.image(0)), &out("feature_maps.png"))?;

    let mut wrong: Vec<usize> =
        (0..test.len()).filter(|&i| result.predicted[i] != test.labels()[i]).collect();
    wrong.sort_by(|&a, &b| result.probability[b].total_cmp(&result.probability[a]));
    let digits: Vec<Vec<f32>> = wrong.iter().take(MISTAKES).map(|&i| grey(test.image(i))).collect();
    let mistakes: Vec<Mistake<'_>> = (digits.iter().zip(&wrong))
        .map(|(digit, &i)| Mistake {
            digit,
            truth: test.labels()[i],
            predicted: result.predicted[i],
            probability: result.probability[i],
        })
        .collect();
    pictures::misclassified(out("misclassified.png"), "Mistakes, most confident first", &mistakes)?;
    println!("checkpoint and pictures are in {}", options.out.display());
    println!("test accuracy {:.2} %", result.accuracy);
    Ok(())
}

/// Reads the digit in a PNG with the weights of the checkpoint.
pub fn predict(dev: &Device, options: &Options, picture: &Path) -> Result<(), Box<dyn Error>> {
    let params = Params::new(dev, options.seed);
    let net = Net::new(&params);
    params.load(options.checkpoint())?;
    let pixels = digit::read(picture)?;
    let p = no_grad(|| net.forward(&input(dev, &pixels), Mode::Eval).softmax(1)).to_vec()?;
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
    println!("{}: {} with {:.1} %", picture.display(), order[0], 100.0 * p[order[0]]);
    for &class in &order[1..3] {
        println!("  or {class} with {:.1} %", 100.0 * p[class]);
    }
    Ok(())
}

fn feature_maps(dev: &Device, net: &Net, pixels: &[f32], path: &Path) -> Result<(), Box<dyn Error>> {
    let (one, two) = no_grad(|| {
        let one = net.stage1(&input(dev, pixels), Mode::Eval);
        let two = net.stage2(&one, Mode::Eval);
        (one, two)
    });
    let (one, two) = (one.to_vec()?, two.to_vec()?);
    let layers = [
        Layer { name: "conv1 + batch norm + ReLU + pool", values: &one, shape: [32, 14, 14] },
        Layer { name: "conv2 + batch norm + ReLU + pool", values: &two, shape: [64, 7, 7] },
    ];
    Ok(pictures::feature_maps(path, "Feature maps of a digit", pixels, &layers)?)
}

/// A picture with values in 0..1 as the network wants it, `[1, 1, 28, 28]`.
fn input(dev: &Device, pixels: &[f32]) -> recurve::Tensor {
    let normal: Vec<f32> = pixels.iter().map(|v| (v - MEAN) / STD).collect();
    dev.tensor(normal, [1, 1, 28, 28])
}

fn grey(image: &[u8]) -> Vec<f32> {
    image.iter().map(|&v| v as f32 / 255.0).collect()
}
