//! Build script: rebuilds the server when the site that it embeds changed.

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script the profile by its environment")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Without optimisation the site is not embedded but read where it lies.
    if cfg!(feature = "ssr") && std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rerun-if-changed=target/site/manifest.json");
    }
}
