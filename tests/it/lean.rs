//! What a program that only calls is built of.

use std::process::Command;

#[test]
fn a_client_is_built_of_neither_tls_nor_http_nor_programs() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--package", "rmi", "--edges", "normal", "--prefix", "none", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let names: Vec<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains(&"tokio"), "the tree is read: {tree}");
    for heavy in ["clap", "h2", "http", "hyper", "opentelemetry", "ring", "rustls", "toml", "tracing-subscriber"] {
        assert!(!names.contains(&heavy), "{heavy} is among the dependencies by default:\n{tree}");
    }
}
