//! Chorales of different lengths side by side, cut into windows of equal length.
//!
//! Each stream sings one chorale after the other. The states of the network are carried from window to window, and begin
//! anew with a chorale; the places behind its end in its last window do not count.

use super::data::{Chorale, VOICES};

/// The mark of places that do not count.
pub const IGNORED: i64 = -100;

/// A piece of every stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// `[steps, streams, voices]`.
    pub inputs: Vec<i64>,
    /// What follows each: `[steps·streams·voices]`.
    pub targets: Vec<i64>,
    /// By stream: 1 where a chorale goes on, 0 where one begins.
    pub goes_on: Vec<f32>,
}

/// All chorales in this `order`, in `streams` streams, in windows of `steps`.
pub fn windows(chorales: &[Chorale], order: &[usize], streams: usize, steps: usize) -> Vec<Window> {
    let mut waiting = order.iter().map(|&i| &chorales[i]);
    // What each stream sings, and how far it has come.
    let mut singing: Vec<Option<(&Chorale, usize)>> = vec![None; streams];
    let mut all = Vec::new();
    loop {
        let mut goes_on = vec![1.0; streams];
        for (place, goes_on) in singing.iter_mut().zip(&mut goes_on) {
            // The last step is only ever a target.
            if place.is_none_or(|(chorale, at)| at + 1 >= chorale.len()) {
                *place = waiting.next().map(|chorale| (chorale, 0));
                *goes_on = 0.0;
            }
        }
        if singing.iter().all(Option::is_none) {
            return all;
        }
        let mut window = Window { inputs: Vec::new(), targets: Vec::new(), goes_on };
        for step in 0..steps {
            for place in &singing {
                let at = |later: usize| place.and_then(|(chorale, at)| chorale.get(at + step + later));
                let next = at(1);
                for voice in 0..VOICES {
                    window.inputs.push(at(0).map_or(0, |classes| i64::from(classes[voice])));
                    window.targets.push(next.map_or(IGNORED, |classes| i64::from(classes[voice])));
                }
            }
        }
        singing.iter_mut().flatten().for_each(|(_, at)| *at += steps);
        all.push(window);
    }
}
