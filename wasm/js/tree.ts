// Prefix hash trees: ordered maps over all peers. What runs them is in SQL's module, fetched at a tree's first use.

import type { Engine } from "./core/pontoon_wasm.js";
import { guard, PontoonError } from "./errors.js";
import { loadSql, type Module } from "./sql.js";
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
  readonly #engine: Engine;
  #tree: Promise<InstanceType<Module["Tree"]>> | undefined;

  /** @internal */
  constructor(engine: Engine, name: string) {
    this.#engine = engine;
    this.name = name;
  }

  /** Sets the value of a key; with `ifAbsent`, rejects with `conflict` where the key has one. */
  insert(key: TreeKey, value: V, options: CallOptions & { ifAbsent?: boolean } = {}): Promise<void> {
    return this.#write([key], [encodeValue(value)], options);
  }

  /** Sets many values, each on its own: when it rejects, some of them may be there. */
  insertAll(entries: Iterable<readonly [TreeKey, V]>, options: CallOptions = {}): Promise<void> {
    const all = [...entries];
    return this.#write(all.map(([key]) => key), all.map(([, value]) => encodeValue(value)), options);
  }

  /** Removes a key; of an absent key without effect. */
  remove(key: TreeKey, options: CallOptions = {}): Promise<void> {
    return this.#write([key], [null], options);
  }

  /** The value of a key; `null` only when the key is known to be absent; rejects when that could not be found out. */
  async get(key: TreeKey, options: CallOptions = {}): Promise<V | null> {
    const found = await guard(async () => (await this.#load()).get(key, options.timeout) as Promise<Found>);
    const [value] = found.values;
    return value ? (decodeValue(value) as V) : null;
  }

  /** The entries from the key `from` on (included) to `to` (not included), in the order of their keys. */
  async range(from?: TreeKey, to?: TreeKey, options: TreeRangeOptions = {}): Promise<TreeRange<V>> {
    const { reverse, limit, timeout } = options;
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 0 && limit < 2 ** 32)) {
      throw new PontoonError("invalid_argument", "`limit` is a number of entries");
    }
    const found = await guard(
      async () => (await this.#load()).range(from, to, reverse ?? false, limit, timeout) as Promise<Found>,
    );
    const entries = found.keys.map((key, index): TreeEntry<V> => {
      return { key, value: decodeValue(found.values[index] as Uint8Array) as V };
    });
    return { entries, coverage: found.coverage };
  }

  async #write(keys: TreeKey[], values: (Uint8Array | null)[], options: CallOptions & { ifAbsent?: boolean }): Promise<void> {
    await guard(async () => (await this.#load()).write(keys, values, options.ifAbsent ?? false, options.timeout));
  }

  #load(): Promise<InstanceType<Module["Tree"]>> {
    this.#tree ??= loadSql().then(
      (module) => new module.Tree(this.#engine, this.name),
      (cause: unknown) => {
        this.#tree = undefined;
        throw cause;
      },
    );
    return this.#tree;
  }
}
