//! Groups and the DHT together: see [`swarm`] for the world they live in.

mod chaos;
mod life;
mod swarm;
mod writes;
