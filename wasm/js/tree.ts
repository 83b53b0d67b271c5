// Prefix hash trees: ordered maps over all peers. What runs them is in SQL's module, fetched at a tree's first use.

import type { Calls } from "./calls.js";
import { PontoonError } from "./errors.js";
import type { CallOptions, Storable, TreeEntry, TreeKey, TreeRange, TreeRangeOptions } from "./types.js";
import { decodeValue, encodeValue } from "./values.js";

interface Found {
  keys: TreeKey[];
  values: Uint8Array[];
  coverage: number;
}

/** An ordered map that lies on all peers of the network. Made by `pht`. */
export class Tree<V extends Storable = Storable> {
  readonly name: string;
  readonly #calls: Calls;

  /** @internal */
  constructor(calls: Calls, name: string) {
    this.#calls = calls;
    this.name = name;
  }

  /** Sets the value of a key; with `ifAbsent`, rejects with `conflict` where the key has one. */
  insert(key: TreeKey, value: V, options: CallOptions & { ifAbsent?: boolean } = {}): Promise<void> {
    return this.#write([[key, value]], options);
  }

  /** Sets many values, each on its own: when it rejects, some of them may be there. */
  insertAll(entries: Iterable<readonly [TreeKey, V]>, options: CallOptions = {}): Promise<void> {
    return this.#write([...entries], options);
  }

  /** Removes a key; of an absent key without effect. */
  remove(key: TreeKey, options: CallOptions = {}): Promise<void> {
    return this.#write([[key, null]], options, true);
  }

  /** The value of a key; `null` only when the key is known to be absent; rejects when that could not be found out. */
  async get(key: TreeKey, { timeout, signal }: CallOptions = {}): Promise<V | null> {
    const found = await this.#calls.call<Found>("treeGet", [this.name, key, timeout], { reads: true, signal });
    const [value] = found.values;
    return value ? (decodeValue(value) as V) : null;
  }

  /** The entries from the key `from` on (included) to `to` (not included), in the order of their keys. */
  async range(from?: TreeKey, to?: TreeKey, options: TreeRangeOptions = {}): Promise<TreeRange<V>> {
    const { reverse, limit, timeout, signal } = options;
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 0 && limit < 2 ** 32)) {
      throw new PontoonError("invalid_argument", "`limit` is a number of entries");
    }
    const args = [this.name, from, to, reverse ?? false, limit, timeout];
    const found = await this.#calls.call<Found>("treeRange", args, { reads: true, signal });
    const entries = found.keys.map((key, index): TreeEntry<V> => {
      return { key, value: decodeValue(found.values[index] as Uint8Array) as V };
    });
    return { entries, coverage: found.coverage };
  }

  async #write(
    entries: (readonly [TreeKey, V | null])[],
    { ifAbsent, timeout, signal }: CallOptions & { ifAbsent?: boolean },
    removes = false,
  ): Promise<void> {
    const keys = entries.map(([key]) => key);
    const values = entries.map(([, value]) => (removes ? null : encodeValue(value as V)));
    await this.#calls.call("treeWrite", [this.name, keys, values, ifAbsent ?? false, timeout], { signal });
  }
}
