//! What the addon says of itself to the linker. Writes nothing.

fn main() {
    napi_build::setup();
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if matches!(system.as_str(), "linux" | "android" | "freebsd") {
        // The engine's thread may outlive the worker that has loaded the addon.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
