//! What a page downloads, file by file as it was built: `peer` (the engine's wasm and its JavaScript), `sql` (fetched when a
//! page first uses SQL or a tree), `parser` (fetched when it first runs SQL text) and `demo` (the page without them).

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::report::Report;

/// The bounds of `peer` and `parser`, brotli bytes.
const PEER_BYTES_MAX: usize = 350_000;
const PARSER_BYTES_MAX: usize = 400_000;

#[derive(Default)]
struct Sizes {
    files: usize,
    raw: usize,
    gzip: usize,
    brotli: usize,
}

impl Sizes {
    /// Each file is a download of its own, so each is compressed alone.
    fn add(&mut self, file: &Path) -> Result<(), String> {
        let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&bytes).map_err(|error| error.to_string())?;
        let mut brotli = Vec::new();
        let params = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, ..Default::default() };
        brotli::BrotliCompress(&mut bytes.as_slice(), &mut brotli, &params).map_err(|error| error.to_string())?;
        self.files += 1;
        self.raw += bytes.len();
        self.gzip += gzip.finish().map_err(|error| error.to_string())?.len();
        self.brotli += brotli.len();
        Ok(())
    }
}

/// The `size` scenario.
pub fn size(report: &Report) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let package = files(&root.join("wasm/dist"), "npm run build --workspace pontoon-db")?;
    let served = |file: &&PathBuf| {
        let name = file.to_string_lossy();
        (name.ends_with(".wasm") || name.ends_with(".js")) && !name.contains(".test.")
    };
    let [mut peer, mut sql, mut parser, mut demo] = <[Sizes; 4]>::default();
    for file in package.iter().filter(served) {
        let artifact = match file.file_name().and_then(|name| name.to_str()) {
            // What a page does not fetch.
            Some("node.js" | "react.js" | "slim.js") => continue,
            Some("sql.wasm") => &mut sql,
            Some("parser.wasm") => &mut parser,
            _ => &mut peer,
        };
        artifact.add(file)?;
    }
    for file in files(&root.join("web-demo/dist"), "npm run build --workspace pontoon-demo")? {
        let name = file.to_string_lossy().into_owned();
        if !name.ends_with(".wasm") && !name.ends_with(".map") {
            demo.add(&file)?;
        }
    }
    for (artifact, sizes) in [("peer", &peer), ("sql", &sql), ("parser", &parser), ("demo", &demo)] {
        if sizes.files == 0 {
            return Err(format!("no file of {artifact} is built: run `make page`"));
        }
        let figures = [("raw_bytes", sizes.raw), ("gzip_bytes", sizes.gzip), ("brotli_bytes", sizes.brotli)];
        for (figure, bytes) in figures {
            report.plain("size", figure, bytes as f64, "B", &[("artifact", artifact)]);
        }
    }
    for (artifact, sizes, most) in [("peer", peer, PEER_BYTES_MAX), ("parser", parser, PARSER_BYTES_MAX)] {
        if sizes.brotli > most {
            return Err(format!("{artifact} has {} brotli bytes, more than {most}", sizes.brotli));
        }
    }
    Ok(())
}

/// All files below a folder.
fn files(folder: &Path, how: &str) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|_| format!("{} is not built: run `{how}`", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() { found.extend(files(&path, how)?) } else { found.push(path) }
    }
    Ok(found)
}
