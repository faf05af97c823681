//! Keeps the memory of messages that have left, and gives back what none has used for a while.

use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::memory;

/// How often it is looked at. What is not used between two looks goes.
const PERIOD: Duration = Duration::from_secs(1);

/// Keeps what is the last hold on its memory, and ages what is kept, for as long as there is any.
pub(super) fn keep_memory(spent: Vec<Bytes>, runtime: &Handle) {
    age_memory(runtime);
    let left: Vec<_> = spent.into_iter().flat_map(memory::keep).collect();
    if !left.is_empty() {
        runtime.spawn_blocking(|| memory::release(left));
    }
}

fn age_memory(runtime: &Handle) {
    if memory::begin_ageing() {
        // It is there before the task is polled: a runtime that is ending never does.
        let ageing = Ageing;
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(PERIOD).await;
                // It takes many milliseconds where much is given back.
                let aged = tokio::task::spawn_blocking(memory::age).await;
                match aged {
                    Ok(true) => {}
                    // Nothing is left: the next to keep something begins anew.
                    Ok(false) => return std::mem::forget(ageing),
                    // The runtime is ending.
                    Err(_) => return,
                }
            }
        });
    }
}

/// A runtime that ends takes the task with it.
struct Ageing;

impl Drop for Ageing {
    fn drop(&mut self) {
        memory::clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_ends_leaves_no_memory_that_nobody_ages() {
        for polls in [0, 1] {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            keep_memory(vec![vec![0; memory::KEPT_LEN_MIN].into()], runtime.handle());
            runtime.block_on(async {
                for _ in 0..polls {
                    tokio::task::yield_now().await;
                }
            });
            assert!(!memory::begin_ageing(), "the runtime's task does");
            drop(runtime);
            assert!(memory::take(memory::KEPT_LEN_MIN).is_none());
            assert!(memory::begin_ageing(), "nobody does after {polls} polls");
            memory::clear();
        }
    }
}
