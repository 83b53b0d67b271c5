//! Makes the folder of the built demo page when it is missing, so that its contents are watched: a page built later
//! is embedded by the next build.

fn main() {
    let folder = "../web-demo/dist";
    // Where the sources may not be written to there is no page to embed either; `src/site.rs` says so when asked.
    let _ = std::fs::create_dir_all(folder);
    println!("cargo:rerun-if-changed={folder}");
}
