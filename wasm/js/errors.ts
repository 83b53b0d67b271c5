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
  | "disk_failed"
  | "overloaded"
  | "invalid_argument"
  | "closed"
  | (string & {});

/** Every failure of this package. Act on `code`; `message` is for people. */
export class PontoonError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "PontoonError";
    this.code = code;
  }

  /** What the wasm modules throw are plain errors with a `code`; anything else is a fault of the driver. */
  static from(cause: unknown): PontoonError {
    if (cause instanceof PontoonError) return cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    const code = (cause as { code?: unknown } | null)?.code;
    return new PontoonError(typeof code === "string" ? code : "internal", message, { cause });
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
