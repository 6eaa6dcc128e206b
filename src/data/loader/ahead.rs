//! A thread that makes values ahead of their use, in a fixed number of buffers that go round.

use std::any::Any;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

/// A thread at work. Dropped, it ends after the value that it is at.
#[derive(Debug)]
pub(super) struct Ahead<B> {
    /// Buffers that were used, and buffers that were filled; gone when the thread is to end.
    ends: Option<(Sender<B>, Receiver<B>)>,
    thread: Option<JoinHandle<()>>,
}

impl<B: Default + Send + 'static> Ahead<B> {
    /// Starts a thread that fills up to `depth` buffers ahead, one after the other; an error where there are no threads.
    pub fn start(depth: usize, mut fill: impl FnMut(&mut B) + Send + 'static) -> std::io::Result<Self> {
        let (give_back, free) = channel::<B>();
        let (made, take) = channel();
        let work = move || {
            // Both ends tell that nobody waits any more; how many buffers there are bounds the queue.
            while let Ok(mut buffer) = free.recv() {
                fill(&mut buffer);
                if made.send(buffer).is_err() {
                    return;
                }
            }
        };
        let thread = Builder::new().name("recurve-loader".into()).spawn(work)?;
        for _ in 0..depth {
            // The thread has not ended yet, or what ended it is reported by `next`.
            let _ = give_back.send(B::default());
        }
        Ok(Ahead { ends: Some((give_back, take)), thread: Some(thread) })
    }

    /// Exchanges `used` for the next value.
    ///
    /// # Errors
    /// What the thread panicked with.
    pub fn next(&mut self, used: &mut B) -> Result<(), Box<dyn Any + Send>> {
        let received = self.ends.as_ref().and_then(|(_, made)| made.recv().ok());
        let Some(made) = received else {
            self.ends = None;
            let ended = self.thread.take().map(JoinHandle::join);
            return match ended {
                Some(Err(payload)) => Err(payload),
                _ => Err(Box::new("the thread of a loader has ended")),
            };
        };
        let used = std::mem::replace(used, made);
        if let Some((free, _)) = &self.ends {
            // A thread that has panicked since is found out when its last value was taken.
            let _ = free.send(used);
        }
        Ok(())
    }
}

impl<B> Drop for Ahead<B> {
    fn drop(&mut self) {
        self.ends = None;
        if let Some(thread) = self.thread.take() {
            // What it panicked with was of interest only to somebody who asks for another value.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ahead;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Fills buffers with 1, 2, … and counts them.
    fn counting(depth: usize, made: &Arc<AtomicUsize>) -> Ahead<usize> {
        let made = made.clone();
        Ahead::start(depth, move |buffer| *buffer = made.fetch_add(1, Ordering::SeqCst) + 1).unwrap()
    }

    #[test]
    fn it_runs_ahead_by_as_many_values_as_there_are_buffers() {
        let made = Arc::new(AtomicUsize::new(0));
        let mut ahead = counting(3, &made);
        let mut held = 0;
        for expected in 1..=20 {
            ahead.next(&mut held).unwrap();
            assert_eq!(held, expected);
            // Three buffers go round beside the one that is held.
            assert!(made.load(Ordering::SeqCst) <= expected + 3);
        }
        drop(ahead);
        // The thread has ended: nothing holds the counter but this function.
        assert_eq!(Arc::strong_count(&made), 1);
        assert!(made.load(Ordering::SeqCst) <= 23);
    }

    #[test]
    fn dropping_it_unused_ends_the_thread() {
        let made = Arc::new(AtomicUsize::new(0));
        drop(counting(2, &made));
        assert_eq!(Arc::strong_count(&made), 1);
        assert!(made.load(Ordering::SeqCst) <= 2);
    }

    #[test]
    fn a_panic_comes_after_the_values_before_it() {
        let mut n = 0;
        let fill = move |buffer: &mut usize| {
            n += 1;
            assert!(n < 4, "value {n} cannot be made");
            *buffer = n;
        };
        let mut ahead = Ahead::start(2, fill).unwrap();
        let mut held = 0;
        for expected in 1..4 {
            ahead.next(&mut held).unwrap();
            assert_eq!(held, expected);
        }
        let payload = ahead.next(&mut held).unwrap_err();
        assert_eq!(payload.downcast_ref::<String>().unwrap(), "value 4 cannot be made");
        assert!(ahead.next(&mut held).is_err(), "it does not go on");
        drop(ahead);
    }
}
