//! Build script: rebuilds the server when the site that it embeds changed.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if cfg!(feature = "ssr") {
        println!("cargo:rerun-if-changed=target/site/manifest.json");
    }
}
