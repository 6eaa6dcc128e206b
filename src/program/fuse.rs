//! Merges steps: chains of element-wise ops become one, a bias or an activation joins the product, convolution or
//! normalisation before it, and a sum or mean of everything draws in the chain that it is of. Steps are only merged where
//! no effect lies between them that either would see, and what is computed again for gradients only with its like.

use super::{Origin, Program, Step, ValueId};
use crate::op::{Follow, Op};
use crate::pointwise::{Pointwise, Wanted, Wire};
use std::sync::Arc;

/// Fuses what can be fused, in program order.
pub(crate) fn fuse(p: &mut Program) {
    let mut fusion = Fusion::new(p);
    for consumer in 0..fusion.steps.len() {
        let mut at = consumer;
        while let Some(next) = fusion.merge_into(at) {
            at = next;
        }
    }
    let steps = fusion.steps;
    p.steps = steps.into_iter().flatten().collect();
}

struct Fusion<'a> {
    p: &'a Program,
    steps: Vec<Option<Step>>,
    producer: Vec<Option<usize>>,
    /// How often the steps read a value, aliases of it included; held values count once more.
    uses: Vec<usize>,
}

impl<'a> Fusion<'a> {
    fn new(p: &'a mut Program) -> Self {
        let steps: Vec<Option<Step>> = std::mem::take(&mut p.steps).into_iter().map(Some).collect();
        let p: &Program = p;
        let mut producer = vec![None; p.values.len()];
        let mut uses = vec![0; p.values.len()];
        for (i, step) in steps.iter().enumerate() {
            let step = step.as_ref().expect("nothing is merged yet");
            step.outputs.iter().for_each(|&o| producer[o] = Some(i));
            step.inputs.iter().for_each(|&v| uses[p.root(v)] += 1);
        }
        p.held.iter().for_each(|&v| uses[p.root(v)] += 1);
        Fusion { p, steps, producer, uses }
    }

    /// Merges the step at `at` with a step that makes one of its inputs. Returns where the merged step lies.
    fn merge_into(&mut self, at: usize) -> Option<usize> {
        let consumer = self.steps[at].as_ref()?;
        let Some(chain) = consumer.op.pointwise().cloned() else { return self.draw_in(at) };
        for (which, &value) in consumer.inputs.iter().enumerate() {
            let Origin::Step = self.p.values[value].origin else { continue };
            let Some(from) = self.producer[value] else { continue };
            let reads = consumer.inputs.iter().filter(|&&v| v == value).count();
            if self.uses[value] != reads || !self.together(from, at) {
                continue;
            }
            let merged =
                self.absorbed(&chain, from, at, which).or_else(|| self.chained(&chain, from, at, value));
            if let Some((step, place)) = merged {
                // A value that both read is read once now, so what makes it may be merged next.
                for read in [from, at].iter().flat_map(|&i| self.steps[i].iter().flat_map(|s| &s.inputs)) {
                    self.uses[self.p.root(*read)] -= 1;
                }
                step.inputs.iter().for_each(|&v| self.uses[self.p.root(v)] += 1);
                step.outputs.iter().for_each(|&o| self.producer[o] = Some(place));
                self.steps[from] = None;
                self.steps[at] = None;
                self.steps[place] = Some(step);
                return Some(place);
            }
        }
        None
    }

    /// Whether both steps are there, and neither computes again what the other does not: a chain that is cut elsewhere may
    /// be rounded otherwise by a compiler, and what is computed again is to be the same bits.
    fn together(&self, from: usize, at: usize) -> bool {
        match (&self.steps[from], &self.steps[at]) {
            (Some(producer), Some(consumer)) => producer.again == consumer.again,
            _ => false,
        }
    }

    /// The producer with the consumer as its bias or activation.
    fn absorbed(&self, chain: &Pointwise, from: usize, at: usize, which: usize) -> Option<(Step, usize)> {
        let (producer, consumer) = (self.steps[from].as_ref()?, self.steps[at].as_ref()?);
        if consumer.outputs.len() != 1 || producer.outputs.first() != Some(&consumer.inputs[which]) {
            return None;
        }
        let follow = chain.follow(&self.p.specs(consumer).0, which)?;
        let op = producer.op.absorb(&self.p.specs(producer).0, follow)?;
        let mut inputs = producer.inputs.clone();
        if let Follow::AddVector { .. } = follow {
            inputs.extend(consumer.inputs.iter().enumerate().filter(|(i, _)| *i != which).map(|(_, &v)| v));
        }
        let mut outputs = producer.outputs.clone();
        outputs[0] = consumer.outputs[0];
        let scalars = [&producer.scalars[..], &consumer.scalars[..]].concat();
        let place = self.place(from, at)?;
        let step = Step {
            op,
            inputs,
            outputs,
            scalars,
            again: consumer.again,
            asked: [&producer.asked[..], &consumer.asked[..]].concat(),
            kernels: None,
            found: None,
            passed_over: Vec::new(),
            scratch: Vec::new(),
            unplaced: Vec::new(),
        };
        Some((step, place))
    }

    /// Both chains as one.
    fn chained(&self, chain: &Pointwise, from: usize, at: usize, value: ValueId) -> Option<(Step, usize)> {
        let (producer, consumer) = (self.steps[from].as_ref()?, self.steps[at].as_ref()?);
        let first = producer.op.pointwise()?;
        let shape = |id: ValueId| self.p.values[id].spec.shape;
        if producer.outputs.len() != 1 || shape(value) != shape(consumer.outputs[0]) {
            return None;
        }
        let wire = |&v: &ValueId| if v == value { Wire::Result(0) } else { Wire::Outer(v) };
        let wires: Vec<Wire> = consumer.inputs.iter().map(wire).collect();
        let wanted: Vec<Wanted> = (0..consumer.outputs.len()).map(Wanted::Consumer).collect();
        let fused = Pointwise::fuse(first, &producer.inputs, chain, &wires, &wanted);
        // The results' shape is that of the inputs together, so a merged chain must not lose the one that sets it.
        let specs: Vec<_> = fused.inputs.iter().map(|&v| self.p.values[v].spec).collect();
        if !fused.chain.fits() || Pointwise::shape(&specs) != Some(shape(consumer.outputs[0])) {
            return None;
        }
        let scalars = [&producer.scalars[..], &consumer.scalars[..]].concat();
        let place = self.place(from, at)?;
        let step = Step {
            op: Arc::new(fused.chain) as Arc<dyn Op>,
            inputs: fused.inputs,
            outputs: consumer.outputs.clone(),
            scalars,
            again: consumer.again,
            asked: [&producer.asked[..], &consumer.asked[..]].concat(),
            kernels: None,
            found: None,
            passed_over: Vec::new(),
            scratch: Vec::new(),
            unplaced: Vec::new(),
        };
        Some((step, place))
    }

    /// Puts the chain that makes the only input of the step at `at` in front of it. Returns where the merged step lies.
    fn draw_in(&mut self, at: usize) -> Option<usize> {
        let consumer = self.steps[at].as_ref()?;
        let &[value] = &consumer.inputs[..] else { return None };
        let from = self.producer[value].filter(|&from| self.uses[value] == 1 && self.together(from, at))?;
        let producer = self.steps[from].as_ref()?;
        let chain = producer.op.pointwise().filter(|_| producer.outputs == [value])?;
        let op = consumer.op.draw_in(chain, &self.p.specs(producer).0)?;
        let place = self.place(from, at)?;
        let producer = self.steps[from].take()?;
        let mut step = self.steps[at].take()?;
        step.op = op;
        step.inputs = producer.inputs;
        step.scalars.splice(..0, producer.scalars);
        step.outputs.iter().for_each(|&o| self.producer[o] = Some(place));
        self.steps[place] = Some(step);
        Some(place)
    }

    /// Where a merger of the steps at `from` and `at` may lie: at the producer when all the consumer reads is there
    /// by then, else at the consumer when nobody needs the producer's other results before.
    fn place(&self, from: usize, at: usize) -> Option<usize> {
        let (producer, consumer) = (self.steps[from].as_ref()?, self.steps[at].as_ref()?);
        let early = consumer.inputs.iter().all(|&v| {
            let made = self.producer[self.p.root(v)].is_none_or(|step| step <= from);
            made && !self.updated_between(v, from, at)
        });
        if early {
            return Some(from);
        }
        let single = producer.outputs.len() == 1;
        let steady = producer.inputs.iter().all(|&v| !self.updated_between(v, from, at));
        (single && steady).then_some(at)
    }

    /// Whether `value` is a variable that a step strictly between the two updates.
    fn updated_between(&self, value: ValueId, from: usize, at: usize) -> bool {
        let Origin::Variable(v) = &self.p.values[self.p.root(value)].origin else { return false };
        self.steps[from + 1..at]
            .iter()
            .flatten()
            .any(|s| s.updated(&self.p.values).any(|u| u.chunk.id() == v.chunk.id()))
    }
}
