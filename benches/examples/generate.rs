//! Writes the generated code of the peers tonic and Cap'n Proto anew, from `benches/schema`:
//! `cargo run -p rmi-bench --features generate --example generate`, and then `cargo fmt`. It needs
//! `protoc` and `capnp`.

use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (schema, peers) = (package.join("schema"), package.join("src/peers"));
    tonic_prost_build::configure()
        .bytes(".") // bodies are not copied out of what was read
        .out_dir(peers.join("tonic"))
        .compile_protos(&[schema.join("bench.proto")], std::slice::from_ref(&schema))?;
    fs::rename(peers.join("tonic/bench.rs"), peers.join("tonic/generated.rs"))?;
    capnpc::CompilerCommand::new()
        .src_prefix(&schema)
        .file(schema.join("bench.capnp"))
        .output_path(peers.join("capnp"))
        .default_parent_module(vec!["peers".to_owned(), "capnp".to_owned()])
        .run()?;
    Ok(())
}
