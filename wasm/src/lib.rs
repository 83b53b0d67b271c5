//! Pontoon's browser driver: the engine, its link host and its store, for the npm package pontoon-db.
