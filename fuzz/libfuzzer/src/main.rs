//! libFuzzer, looking for bytes that make the target of `RMI_FUZZ_TARGET` panic.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rmi_fuzz::{Target, target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("RMI_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("RMI_FUZZ_TARGET names no target, but {name:?}"))
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
