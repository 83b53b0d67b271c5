// Where modules of WebAssembly come from.

/** A module of WebAssembly, or where it is. */
export type Wasm = string | URL | Response | BufferSource | WebAssembly.Module;
/** The same, perhaps later. */
export type WasmSource = Wasm | Promise<Wasm> | (() => Wasm | Promise<Wasm>);
