// What every entry of the package exports beside its `connect`.

export type { DiagnosedLink, Diagnosis } from "./diagnose.js";
export { type ErrorCode, type ErrorDetails, PontoonError } from "./errors.js";
export type { LiveQuery } from "./live.js";
export type { Pontoon } from "./pontoon.js";
export type { Tree } from "./tree.js";
export type * from "./types.js";
