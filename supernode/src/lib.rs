//! Pontoon's native peer: meeting point, WebSocket relay, durable peer and host of the demo page.
//!
//! One task owns the engine ([`pontoon_core::node::Node`]) and is its driver; sockets, the disk and callers reach it
//! over bounded channels. The program is a thin `main` around [`Supernode::start`]:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use pontoon_supernode::{Settings, Supernode};
//!
//! let supernode = Supernode::start(Settings { data: "data".into(), ..Settings::default() }).await?;
//! println!("open http://{}/", supernode.local_addr());
//! supernode.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod api;
pub mod args;
mod channel;
pub mod client;
mod clock;
mod config;
#[cfg(unix)]
mod control;
mod disk;
mod door;
mod driver;
mod engine;
mod figures;
mod files;
#[doc(hidden)]
pub mod fuzz;
mod health;
mod http;
pub mod logs;
mod metrics;
mod observe;
mod reach;
mod reload;
mod settings;
mod site;
mod socket;
mod store;
mod supernode;
mod tls;
mod traffic;
mod upkeep;

pub use api::{Access, AccessError, ApiLimits, Token};
pub use config::{ConfigError, Sources};
pub use disk::DiskState;
pub use door::JoinError;
pub use files::FileError;
pub use health::{Counters, Health};
pub use reach::{ReachArgs, ReachError, ReachSettings, Turned};
pub use settings::{Limits, SOCKET_PATH, Settings, SettingsError};
pub use site::{Site, demo};
pub use store::{
    Backup, BackupError, Fault, Offline, Opened, Sizes, Snapshot, Store, StoreError, Verified, check_backup, restore,
    write_backup,
};
pub use supernode::{StartError, Supernode};
pub use tls::{Tls, TlsArgs, TlsError};
pub use traffic::{TrafficArgs, TrafficLimits};
pub use upkeep::{Upkeep, UpkeepError};
