//! Generates the gRPC services, without a Protobuf compiler on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/raft.proto");
    #[cfg(feature = "grpc")]
    generate()?;
    Ok(())
}

#[cfg(feature = "grpc")]
fn generate() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(["proto/raft.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .extern_path(".raft.v1", "crate::grpc::wire")
        .compile_fds(descriptors.clone())?;

    // The messages themselves are written down in `wire.rs`; a test compares those
    // with what is generated here.
    let out = std::path::Path::new(&std::env::var("OUT_DIR")?).join("messages");
    std::fs::create_dir_all(&out)?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .bytes(".")
        .out_dir(out)
        .compile_fds(descriptors)?;
    Ok(())
}
