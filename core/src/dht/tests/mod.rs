//! Groups and the DHT together: see [`swarm`] for the world they live in.

mod life;
mod swarm;
