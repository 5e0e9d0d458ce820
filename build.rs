//! Build script: rebuilds the server when the site that it embeds changed.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Otherwise the site is read where it lies.
    if cfg!(feature = "ssr") && std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rerun-if-changed=target/site/manifest.json");
    }
}
