//! Builds the server anew when the site it embeds has changed.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if cfg!(feature = "ssr") {
        println!("cargo:rerun-if-changed=target/site/manifest.json");
    }
}
