//! Groups and the DHT together: see [`swarm`] for the world they live in.

mod archive;
mod backup;
mod chaos;
mod heal;
mod life;
mod swarm;
mod union;
mod writes;
