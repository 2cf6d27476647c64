//! Compiles `proto/` with protox, so that no protoc is needed: the API's Rust code and its descriptors for reflection.

use std::{env, error::Error, fs, path::PathBuf};

/// Every file of the API, relative to `proto/`.
const FILES: [&str; 10] = [
    "occitanie/datahub/v1/access.proto",
    "occitanie/datahub/v1/audit.proto",
    "occitanie/datahub/v1/catalog.proto",
    "occitanie/datahub/v1/common.proto",
    "occitanie/datahub/v1/consent.proto",
    "occitanie/datahub/v1/errors.proto",
    "occitanie/datahub/v1/participant.proto",
    "occitanie/datahub/v1/policy.proto",
    "occitanie/datahub/v1/privacy.proto",
    "occitanie/datahub/v1/query.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;

    // The code keeps the comments; what reflection serves does not need them.
    // Names of messages let the command line find their descriptors.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .btree_map(".")
        .bytes(".")
        .codec_path("crate::grpc::codec::StrictCodec")
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;

    let descriptors = compiler.include_source_info(false).encode_file_descriptor_set();
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("hub.descriptor.bin"), descriptors)?;
    Ok(())
}
