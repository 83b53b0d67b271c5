//! The engine as the TypeScript side sees it. Bytes, text and plain objects only; what values mean is decided there.

use std::rc::Rc;

use js_sys::{Function, Promise};
use pontoon_core::{
    CallId, Command, Config, Id, Saved,
    crypto::{Ed25519, Identity as _},
    node::Node,
    store::{Action, Expect, KeyOp},
    trust,
};
use serde::{Serialize as _, de::DeserializeOwned};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use crate::{
    calls::Shape,
    clock,
    disk::Disk,
    driver::{self, Driver},
    error::DriverError,
    host, js, values,
};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
import type { Reached } from "../types.js";

/** How an engine is opened. */
export interface EngineOptions {
  network: string;
  supernodes: readonly string[];
  alone?: boolean;
  direct: boolean;
  leaveSockets: boolean;
  seed?: Uint8Array;
  user?: boolean | Uint8Array;
}

interface RawEntry { value: Uint8Array; version: string; expires: Date | null; stale: boolean }
interface RawRecord extends RawEntry { namespace: string; key: Uint8Array }
"#;

#[wasm_bindgen]
extern "C" {
    /// See the TypeScript section.
    #[wasm_bindgen(typescript_type = "EngineOptions")]
    pub type Options;
    /// See `js/rtc.js`; nothing where there is no WebRTC.
    #[wasm_bindgen(typescript_type = "object | undefined")]
    pub type MaybeNegotiator;
    /// `Opened` of `js/disk.js`.
    #[wasm_bindgen(typescript_type = "object | undefined")]
    pub type MaybeStore;
    /// See the TypeScript section.
    #[wasm_bindgen(typescript_type = "Promise<RawEntry | null>")]
    pub type EntryPromise;
    /// See the TypeScript section.
    #[wasm_bindgen(typescript_type = "Promise<RawRecord[]>")]
    pub type RecordsPromise;
    /// See the TypeScript section.
    #[wasm_bindgen(typescript_type = "Promise<Reached>")]
    pub type ReachedPromise;
    /// Bytes, or a promise of them.
    #[wasm_bindgen(typescript_type = "Uint8Array | Promise<Uint8Array>")]
    pub type Bytes;
    /// A promise of text.
    #[wasm_bindgen(typescript_type = "Promise<string>")]
    pub type TextPromise;
    /// A version; null for a hint.
    #[wasm_bindgen(typescript_type = "Promise<string | null>")]
    pub type VersionPromise;
    /// A promise of a truth.
    #[wasm_bindgen(typescript_type = "Promise<boolean>")]
    pub type BooleanPromise;
    /// A promise of the end of something.
    #[wasm_bindgen(typescript_type = "Promise<void>")]
    pub type VoidPromise;
}

/// Tells a panic to the console before the module traps: a fault of this package, never of its input.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| web_sys::console::error_1(&format!("pontoon: {info}").into())));
}

/// One peer: the node, its links and its disk.
#[wasm_bindgen]
pub struct Engine {
    driver: Rc<Driver>,
    id: Id,
    user: Option<String>,
}

#[wasm_bindgen]
impl Engine {
    /// Takes over what its database holds and starts the node. `store` is what `open` of `js/disk.js` gave, or nothing: then
    /// it forgets. Tells `joined` when it is part of the network.
    pub fn open(options: Options, negotiator: MaybeNegotiator, store: MaybeStore) -> Result<Engine, JsValue> {
        let (options, negotiator) = (JsValue::from(options), JsValue::from(negotiator));
        let negotiator: Option<host::Negotiator> = negotiator.is_truthy().then(|| negotiator.unchecked_into());
        let network = js::text_property(&options, "network").unwrap_or_default();
        let store = JsValue::from(store);
        let (disk, kept, saved) = match store.is_truthy() {
            true => Disk::of(store.unchecked_into())?,
            false => (Disk::memory(), js::random_bytes()?, Saved::new()),
        };
        let given = js::property(&options, "seed").map(|seed| js_sys::Uint8Array::new(&seed).to_vec());
        let seed: [u8; 32] = match given {
            Some(given) => given.try_into().map_err(|_| DriverError::Invalid("a seed is 32 bytes".to_owned()))?,
            None => kept,
        };

        let truth = |name| js::property(&options, name).is_some_and(|truth| truth.is_truthy());
        let alone = truth("alone");
        let direct_links = negotiator.is_some() && truth("direct");
        let config = Config {
            network,
            supernodes: js::strings(&js::property(&options, "supernodes").unwrap_or_default()),
            direct_links,
            leave_sockets: direct_links && truth("leaveSockets"),
            founder: alone,
            alone,
            ..Config::default()
        };
        let identity = Ed25519::from_seed(&seed);
        let id = identity.id();
        let mut node = Node::new(config, Box::new(identity), js::random_bytes()?, clock::now(), saved);
        match js::property(&options, "user").map(|user| user.dyn_into::<js_sys::Uint8Array>()) {
            None => {}
            Some(Ok(given)) => {
                let secret = given.to_vec().try_into();
                let secret = secret.map_err(|_| DriverError::Invalid("a user's secret is 32 bytes".to_owned()))?;
                node.act_with(Box::new(Ed25519::from_seed(&secret)));
            }
            Some(Err(truth)) if truth.is_truthy() => {
                node.act_with(Box::new(Ed25519::from_seed(&trust::user_secret(&seed))));
            }
            Some(Err(_)) => {}
        }
        let user = node.user().map(|user| user.to_string());
        Ok(Engine { driver: Driver::start(node, disk, negotiator), id, user })
    }

    /// This peer's id.
    #[wasm_bindgen(getter)]
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// The user for whom it acts.
    #[wasm_bindgen(getter)]
    pub fn user(&self) -> Option<String> {
        self.user.clone()
    }

    /// Who is told of messages, globals, new data, joining and traces.
    pub fn listen(&self, listener: Function) {
        self.driver.listen(listener);
    }

    /// Stores a value; `expect` is absent, `"absent"`, `"hinted"` or a version. Times are milliseconds. A hint has no version.
    pub fn put(
        &self,
        namespace: String,
        key: Vec<u8>,
        value: Vec<u8>,
        expect: Option<String>,
        ttl: Option<f64>,
        timeout: Option<f64>,
    ) -> Result<VersionPromise, JsValue> {
        let ttl_us = micros("ttl", ttl)?;
        if expect.as_deref() == Some("hinted") {
            let action = Action::PutHinted { value, ttl_us, at_us: 0 };
            return self.key(namespace, key, action, timeout, Shape::Version);
        }
        let expect = match expect.as_deref() {
            None => Expect::Any,
            Some("absent") => Expect::Absent,
            Some(version) => Expect::Version(values::version(version)?),
        };
        self.key(namespace, key, Action::Put { value, expect, ttl_us }, timeout, Shape::Version)
    }

    /// Reads a value, from whichever replica is met first if it may be `stale`.
    pub fn get(
        &self,
        namespace: String,
        key: Vec<u8>,
        stale: bool,
        timeout: Option<f64>,
    ) -> Result<EntryPromise, JsValue> {
        let action = if stale { Action::GetStale } else { Action::Get };
        self.key(namespace, key, action, timeout, Shape::Entry)
    }

    /// Removes a key, if it is of a version.
    pub fn remove(
        &self,
        namespace: String,
        key: Vec<u8>,
        version: Option<String>,
        timeout: Option<f64>,
    ) -> Result<TextPromise, JsValue> {
        let expect = match version {
            None => Expect::Any,
            Some(version) => Expect::Version(values::version(&version)?),
        };
        self.key(namespace, key, Action::Remove { expect }, timeout, Shape::Version)
    }

    /// Extends the life of a value to `ttl` ms from now.
    pub fn renew(
        &self,
        namespace: String,
        key: Vec<u8>,
        ttl: f64,
        timeout: Option<f64>,
    ) -> Result<BooleanPromise, JsValue> {
        let ttl_us = micros("ttl", Some(ttl))?.unwrap_or_default();
        self.key(namespace, key, Action::Renew { ttl_us }, timeout, Shape::Renewed)
    }

    /// What this peer holds of some namespaces.
    pub fn lscan(&self, namespaces: Vec<String>) -> RecordsPromise {
        self.driver.call(Command::LocalScan { namespaces }, Shape::Plain).unchecked_into()
    }

    /// Begins or ends to tell of what this peer commits of a namespace as its keys' owner.
    pub fn subscribe(&self, namespace: String, on: bool) -> VoidPromise {
        self.driver.call(Command::Subscribe { namespace, on }, Shape::Plain).unchecked_into()
    }

    /// A message to the owner of a key.
    pub fn send(&self, namespace: String, key: Vec<u8>, payload: Vec<u8>) -> TextPromise {
        self.driver.call(Command::Send { namespace, key, payload }, Shape::Plain).unchecked_into()
    }

    /// A message to a peer.
    #[wasm_bindgen(js_name = sendNode)]
    pub fn send_node(&self, id: String, payload: Vec<u8>) -> Result<TextPromise, JsValue> {
        let to = id.parse().map_err(|error: pontoon_core::id::BadId| DriverError::Invalid(error.to_string()))?;
        Ok(self.driver.call(Command::SendNode { to, payload }, Shape::Plain).unchecked_into())
    }

    /// A message to every other peer.
    #[wasm_bindgen(js_name = sendAll)]
    pub fn send_all(&self, payload: Vec<u8>) -> ReachedPromise {
        self.driver.call(Command::SendAll { payload }, Shape::Plain).unchecked_into()
    }

    /// Sets or removes a global.
    #[wasm_bindgen(js_name = setGlobal)]
    pub fn set_global(&self, name: String, value: Option<Vec<u8>>) -> VoidPromise {
        self.driver.call(Command::SetGlobal { name, value }, Shape::Plain).unchecked_into()
    }

    /// A global as this peer knows it.
    #[wasm_bindgen(js_name = getGlobal)]
    pub fn get_global(&self, name: &str) -> Option<Vec<u8>> {
        self.driver.node(|node| node.global(name).map(<[u8]>::to_vec))
    }

    /// Carries out encoded operations on keys; gives their outcomes and the cost, encoded. For SQL.
    pub fn keys(&self, ops: &[u8], timeout: Option<f64>) -> Result<Bytes, JsValue> {
        let (ops, deadline_us) = (decode(ops)?, micros("timeout", timeout)?);
        Ok(self.driver.call_now(Command::Keys { ops, deadline_us }, Shape::Encoded, None)?.unchecked_into())
    }

    /// Runs an encoded fragment but for encoded regions; gives what came and how it ended, encoded. `told` is given the
    /// share that has answered, the rows that came and, encoded, the next ones of the first rows, while it goes on. For SQL.
    pub fn gather(
        &self,
        fragment: &[u8],
        except: &[u8],
        timeout: Option<f64>,
        told: Option<Function>,
    ) -> Result<Bytes, JsValue> {
        let (fragment, except, deadline_us) = (decode(fragment)?, decode(except)?, micros("timeout", timeout)?);
        self.gathered(Command::Gather { fragment, except, deadline_us }, told)
    }

    /// Has the peers join two tables, by an encoded plan; gives and tells what `gather` does. For SQL.
    pub fn join(&self, plan: &[u8], timeout: Option<f64>, told: Option<Function>) -> Result<Bytes, JsValue> {
        let (plan, deadline_us) = (decode(plan)?, micros("timeout", timeout)?);
        self.gathered(Command::Join { plan, deadline_us }, told)
    }

    /// Ends what `gather` or `join` has given this promise of: it rejects with `query_canceled`.
    pub fn cancel(&self, promise: &Promise) {
        self.driver.cancel(promise);
    }

    /// Lets an encoded fragment stand over an encoded region, if one is named; `listener` is given what comes of it,
    /// encoded. Gives the name for `unwatch`. For SQL.
    pub fn watch(&self, fragment: &[u8], region: &[u8], listener: Function) -> Result<f64, JsValue> {
        let command = Command::Watch { fragment: decode(fragment)?, region: decode(region)? };
        Ok(self.driver.watch(command, listener)?.0 as f64)
    }

    /// Calls it when what waits in this thread's queue is done. For SQL.
    pub fn soon(&self, each: &Function) {
        driver::soon(each);
    }

    /// Ends what `watch` began.
    pub fn unwatch(&self, watch: f64) {
        self.driver.unwatch(CallId(watch as u64));
    }

    /// What this peer may answer for of a namespace right now, encoded ([`Owned`](pontoon_core::node::Owned)), and, unless
    /// `known` says the same regions and change, encoded, the values of its records there, each after its length in four
    /// bytes. Nothing where these take more than `most` bytes. For SQL.
    pub fn owned(&self, namespace: &str, locality_bits: u8, known: &[u8], most: usize) -> Option<Vec<u8>> {
        self.driver.node(|node| {
            let owned = node.owned(clock::now(), namespace, locality_bits)?;
            let mut all = postcard::to_allocvec(&owned).ok()?;
            if !all.starts_with(known) || known.is_empty() {
                for value in node.records(namespace, &owned.regions) {
                    if all.len() + value.len() > most {
                        return None;
                    }
                    all.extend_from_slice(&(value.len() as u32).to_le_bytes());
                    all.extend_from_slice(value);
                }
            }
            Some(all)
        })
    }

    /// What the user for whom this peer acts agrees on with others, both encoded: a list of keys of 32 bytes, and for each
    /// the secret, if there is one. For SQL, which opens keyrings with it.
    pub fn agree(&self, with: &[u8]) -> Vec<u8> {
        let with: Vec<trust::User> = postcard::from_bytes(with).unwrap_or_default();
        let agreed = self.driver.node(|node| {
            let bytes = |other: &trust::User| node.agree(other).map(|secret| *secret.bytes());
            with.iter().map(bytes).collect::<Vec<Option<[u8; 32]>>>()
        });
        postcard::to_allocvec(&agreed).unwrap_or_default()
    }

    /// The network's locality bits, which the places of the catalog and of new tables depend on.
    #[wasm_bindgen(getter, js_name = localityBits)]
    pub fn locality_bits(&self) -> u8 {
        self.driver.node(|node| node.config().locality_bits)
    }

    /// A snapshot for debug pages.
    #[wasm_bindgen(unchecked_return_type = "unknown")]
    pub fn inspect(&self) -> Result<JsValue, JsValue> {
        let snapshot = self.driver.node(|node| node.inspect(clock::now()));
        let object = snapshot
            .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
            .map_err(|error| DriverError::Internal(error.to_string()))?;
        js_sys::Reflect::set(&object, &"driver".into(), &self.driver.figures())?;
        Ok(object)
    }

    /// Turns trace events on or off.
    #[wasm_bindgen(js_name = setTracing)]
    pub fn set_tracing(&self, on: bool) {
        self.driver.node(|node| node.set_tracing(on));
    }

    /// Lets go of links and disk; `leave`s the network in good order before, unless the same peer is about to come back.
    pub fn close(&self, leave: bool) -> VoidPromise {
        let driver = self.driver.clone();
        future_to_promise(async move {
            driver.close(leave).await;
            Ok(JsValue::UNDEFINED)
        })
        .unchecked_into()
    }

    fn gathered(&self, command: Command, told: Option<Function>) -> Result<Bytes, JsValue> {
        Ok(self.driver.call_now(command, Shape::Encoded, told)?.unchecked_into())
    }

    fn key<P: JsCast>(
        &self,
        namespace: String,
        key: Vec<u8>,
        action: Action,
        timeout: Option<f64>,
        shape: Shape,
    ) -> Result<P, JsValue> {
        let deadline_us = micros("timeout", timeout)?;
        let ops = vec![KeyOp { namespace, locality_bits: self.locality_bits(), key, action, proof: None }];
        Ok(self.driver.call(Command::Keys { ops, deadline_us }, shape).unchecked_into())
    }
}

/// What the SQL module has encoded.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DriverError> {
    postcard::from_bytes(bytes).map_err(|_| DriverError::Invalid("bytes that do not read".to_owned()))
}

/// Milliseconds from JavaScript as microseconds.
fn micros(what: &str, ms: Option<f64>) -> Result<Option<u64>, DriverError> {
    match ms {
        None => Ok(None),
        Some(ms) if ms.is_finite() && ms >= 0.0 => Ok(Some((ms * 1_000.0) as u64)),
        Some(_) => Err(DriverError::Invalid(format!("`{what}` is a number of milliseconds"))),
    }
}
