// Errors with a stable code.

/**
 * Codes of {@link PontoonError}. SQL statements fail with further ones, named as in PostgreSQL:
 * `syntax_error`, `unique_violation`, `duplicate_table`, `undefined_table`, `undefined_column`, ...
 */
export type ErrorCode =
  | "unreachable"
  | "conflict"
  | "too_large"
  | "quota_exceeded"
  | "insufficient_privilege"
  | "unsigned"
  | "forged"
  | "late"
  | "disk_failed"
  | "overloaded"
  | "invalid_argument"
  | "closed"
  | "query_canceled"
  /** The signal of the call was aborted. */
  | "aborted"
  /** The tab that ran the shared peer went away: whether the call was carried out is not known. */
  | "interrupted"
  /** Another tab of the origin, or who was asked to let this peer join, runs a version that this one cannot talk to. */
  | "version_mismatch"
  /** The environment lacks something. */
  | "unsupported"
  /** The page's policy forbids WebAssembly. */
  | "forbidden"
  | (string & {});

/** What else may be known of a failed statement. */
export interface ErrorDetails {
  /** The five characters of PostgreSQL's SQLSTATE. */
  sqlstate?: string;
  /** What may have been meant, for people. */
  hint?: string;
  /** Where in the text: a character, from 1. */
  position?: number;
}

/** What browsers say, each in its own words, where a page's policy forbids WebAssembly. */
const FORBIDDEN = /(?=.*(?:wasm|WebAssembly)).*(?:Content Security Policy|\bCSP\b)/is;
const POLICY = "the page's Content-Security-Policy forbids WebAssembly: `script-src` lacks 'wasm-unsafe-eval'";

/** Every failure of this package. Act on `code`; `message` and `hint` are for people. */
export class PontoonError extends Error implements ErrorDetails {
  readonly code: ErrorCode;
  readonly sqlstate?: string;
  readonly hint?: string;
  readonly position?: number;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions & ErrorDetails) {
    super(message, options);
    this.name = "PontoonError";
    this.code = code;
    const { sqlstate, hint, position } = options ?? {};
    if (sqlstate !== undefined) this.sqlstate = sqlstate;
    if (hint !== undefined) this.hint = hint;
    if (position !== undefined) this.position = position;
  }

  /** What the wasm modules throw are plain errors with a `code`; anything else is a fault of the driver. */
  static from(cause: unknown): PontoonError {
    if (cause instanceof PontoonError) return cause;
    const { code, message: said, sqlstate, hint, position } = (cause ?? {}) as ErrorDetails & { code?: unknown; message?: unknown };
    const message = typeof said === "string" ? said : String(cause);
    if (FORBIDDEN.test(message)) return new PontoonError("forbidden", POLICY, { cause });
    const details = {
      ...(typeof sqlstate === "string" && { sqlstate }),
      ...(typeof hint === "string" && { hint }),
      ...(typeof position === "number" && { position }),
    };
    return new PontoonError(typeof code === "string" ? code : "internal", message, { cause, ...details });
  }
}

/** A listener that throws is reported as an uncaught error and stops nothing else. */
export function report(call: () => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** The engine's calls throw (wrong arguments) or reject (everything else): both become a rejection with a PontoonError. */
export async function guard<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    throw PontoonError.from(cause);
  }
}
