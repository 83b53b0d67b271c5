// Pontoon: a relational database that floats on whatever browsers are there. Importing touches no globals.

export { connect } from "./connect.js";
export { PontoonError } from "./errors.js";
export type { ErrorCode, ErrorDetails } from "./errors.js";
export type { LiveQuery } from "./live.js";
export type { Pontoon } from "./pontoon.js";
export type { Tree } from "./tree.js";
export type * from "./types.js";
