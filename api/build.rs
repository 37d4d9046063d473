//! Generates the Rust side of `proto/om/v1`. Needs `protoc`; `cargo xtask setup` installs it.

use std::path::PathBuf;

#[expect(clippy::disallowed_methods, reason = "this is how cargo tells a build script its directory")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["plugin", "manager", "peer", "snapshot"].map(|name| format!("proto/om/v1/{name}.proto"));
    let files = files.each_ref().map(String::as_str);
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    tonic_prost_build::configure()
        .bytes(".om.v1")
        .codec_path("crate::codec::Small")
        .file_descriptor_set_path(out.join("om_v1.bin"))
        .compile_protos(&files, &["proto"])
        .map_err(|cause| {
            format!(
                "cannot compile proto/om/v1: {cause}\nIf protoc is missing: cargo xtask setup installs it."
            )
            .into()
        })
}
