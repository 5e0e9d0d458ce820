//! Makes JavaScript and WebAssembly for browsers of what rustc compiled: `wasm-bindgen MODULE DIRECTORY NAME`.

use std::process::ExitCode;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, directory, name] = &arguments[..] else {
        eprintln!("usage: wasm-bindgen MODULE DIRECTORY NAME");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).out_name(name).typescript(false);
    // `scripts/pack-site.mjs` looks for the module's name in the script, to put a hash into it.
    bindgen.remove_producers_section(true).omit_default_module_path(false);
    match bindgen.web(true).and_then(|bindgen| bindgen.generate(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wasm-bindgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}
