// Parameters and results cross between JavaScript and the module in bulk: for each value a tag, for a number or the length
// of a text a number, all texts as one, and what is none of these (`OTHER`) one by one. A call of a module costs more than
// the value that it brings.

const NULL = 0;
const INTEGER = 1;
const REAL = 2;
const TEXT = 3;
const TRUE = 4;
const FALSE = 5;
const OTHER = 6;

/** Figures that stand before a result's numbers. */
const FIGURES = 7;

/** A text that is not well-formed would run into its neighbour. */
const lone = /\p{Surrogate}/u;

/** Parameters of a statement. */
export class Parameters {
  constructor(values) {
    const tags = new Uint8Array(values.length);
    const numbers = [];
    const others = [];
    let text = "";
    for (let at = 0; at < values.length; at += 1) {
      const value = values[at];
      switch (typeof value) {
        case "number":
          tags[at] = Number.isSafeInteger(value) ? INTEGER : REAL;
          numbers.push(value);
          break;
        case "string":
          if (lone.test(value)) {
            tags[at] = OTHER;
            others.push(value);
            break;
          }
          tags[at] = TEXT;
          numbers.push(value.length);
          text += value;
          break;
        case "boolean":
          tags[at] = value ? TRUE : FALSE;
          break;
        default:
          if (value !== null) {
            tags[at] = OTHER;
            others.push(value);
          }
      }
    }
    this.tags = tags;
    this.numbers = Float64Array.from(numbers);
    this.text = text;
    this.others = others;
  }
}

/** A result: figures, then the names and types of its columns, then its rows, each an object. */
export function result(width, tags, numbers, text, others) {
  let [at, number, from, other] = [0, FIGURES, 0, 0];
  const next = () => {
    switch (tags[at++]) {
      case INTEGER:
      case REAL:
        return numbers[number++];
      case TEXT:
        return text.slice(from, (from += numbers[number++]));
      case TRUE:
        return true;
      case FALSE:
        return false;
      case OTHER:
        return others[other++];
      default:
        return null;
    }
  };
  const columns = [];
  for (let column = 0; column < width; column += 1) columns.push({ name: next(), type: next() });
  const names = columns.map((column) => column.name);
  const rows = [];
  while (at < tags.length) {
    const row = {};
    for (const name of names) row[name] = next();
    rows.push(row);
  }
  const [affected, coverage, assumedLost, messages, bytes, peers, elapsedMs] = numbers;
  const cost = { messages, bytes, peers, elapsedMs };
  return { rows, columns, affected, coverage, assumedLost: assumedLost === 1, cost };
}
