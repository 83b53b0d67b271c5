/** A template's text with `$1`, `$2`, ... where its values stood. */
export function placeholders(strings: readonly string[]): string {
  return strings.reduce((text, part, index) => `${text}$${index}${part}`);
}
