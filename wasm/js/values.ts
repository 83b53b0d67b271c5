// How application values are kept as bytes: one tag byte, then bytes, UTF-8 text or JSON.
//
// The tags are no valid first byte of UTF-8 text, so bytes that something else wrote are seldom mistaken for ours.

import { PontoonError } from "./errors.js";
import type { Key, Storable } from "./types.js";

const BYTES = 0xb0;
const TEXT = 0xb1;
const JSON_TEXT = 0xb2;

export function keyBytes(key: Key): Uint8Array {
  if (typeof key === "string") return new TextEncoder().encode(key);
  if (key instanceof Uint8Array) return key;
  throw new PontoonError("invalid_argument", "a key is a string or a Uint8Array");
}

export function encodeValue(value: Storable): Uint8Array {
  if (value instanceof Uint8Array) return tagged(BYTES, value);
  if (typeof value === "string") return tagged(TEXT, new TextEncoder().encode(value));
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    throw new PontoonError("invalid_argument", `not a value that JSON can say: ${String(cause)}`, { cause });
  }
  if (text === undefined) throw new PontoonError("invalid_argument", "not a value that JSON can say");
  return tagged(JSON_TEXT, new TextEncoder().encode(text));
}

/** Bytes that are not of this encoding come back as they are. */
export function decodeValue(bytes: Uint8Array): Storable {
  const body = bytes.subarray(1);
  try {
    switch (bytes[0]) {
      case BYTES:
        return body.slice();
      case TEXT:
        return new TextDecoder("utf-8", { fatal: true }).decode(body);
      case JSON_TEXT:
        return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body)) as Storable;
    }
  } catch {
    // Not ours after all.
  }
  return bytes;
}

function tagged(tag: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(body.length + 1);
  bytes[0] = tag;
  bytes.set(body, 1);
  return bytes;
}
