//! What a step takes of memory.

/// Runs it, and holds the memory that it has at any one moment to so many bytes.
#[track_caller]
pub(crate) fn within<T>(bytes_max: usize, run: impl FnOnce() -> T) -> T {
    let mut value = None;
    let taken = allocation_counter::measure(|| value = Some(run())).bytes_max;
    assert!(taken <= bytes_max as u64, "took {taken} bytes of memory, and may take {bytes_max}");
    value.unwrap_or_else(|| unreachable!("it ran"))
}
