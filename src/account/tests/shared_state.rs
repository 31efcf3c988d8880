//! The shared state of accounts without Redis: its Lua script on an interpreter, on the paused clock of the tests.

use crate::account::{GateGrant, GateReport, SharedAccounts, SharedKey};
use crate::store_error::StoreError;
use async_trait::async_trait;
use mlua::{Lua, LuaString, Table, Value, Variadic};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SCRIPT: &str = concat!(
    include_str!("../../store/redis/lua/prelude.lua"),
    include_str!("../../store/redis/lua/account.lua")
);

/// The latency of a call to the state.
const ROUND_TRIP: Duration = Duration::from_millis(2);

type Hashes = HashMap<String, HashMap<String, String>>;

/// The state, as Redis would store it.
#[derive(Debug)]
pub(super) struct SharedState {
    lua: Mutex<Lua>,
    hashes: Arc<Mutex<Hashes>>,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    made: u64,
    is_away: bool,
    is_new_server: bool,
}

impl SharedState {
    pub(super) fn new() -> SharedState {
        let (lua, hashes): (Lua, Arc<Mutex<Hashes>>) = (Lua::new(), Arc::default());
        let (kept, began) = (Arc::clone(&hashes), Instant::now());
        let call = lua.create_function(move |lua, arguments: Variadic<LuaString>| {
            let arguments: Vec<String> = arguments.iter().map(|text| text.to_string_lossy()).collect();
            answer(lua, &mut kept.lock().unwrap(), &arguments, began)
        });
        let redis = lua.create_table().unwrap();
        redis.set("call", call.unwrap()).unwrap();
        lua.globals().set("redis", redis).unwrap();
        SharedState {
            lua: Mutex::new(lua),
            hashes,
            calls: Mutex::new(Calls {
                is_new_server: true,
                ..Calls::default()
            }),
        }
    }

    /// The number of calls so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls.lock().unwrap().made
    }

    /// Makes calls fail from now on, or answers them again.
    pub(super) fn set_away(&self, is_away: bool) {
        self.calls.lock().unwrap().is_away = is_away;
    }

    /// Simulates a restart of the server that lost its last changes, or all of them.
    pub(super) fn restore(&self, hashes: Hashes) {
        *self.hashes.lock().unwrap() = hashes;
        self.calls.lock().unwrap().is_new_server = true;
    }

    /// The stored hashes.
    pub(super) fn stored(&self) -> Hashes {
        self.hashes.lock().unwrap().clone()
    }

    fn run(&self, key: &SharedKey, report: &GateReport, is_new_server: bool) -> Vec<i64> {
        let lua = self.lua.lock().unwrap();
        let keys = lua
            .create_sequence_from([key.account.clone(), key.gate.clone(), "members".to_owned()])
            .unwrap();
        let first = [i64::from(is_new_server), 1000];
        let arguments = first.into_iter().chain(report.arguments());
        let arguments = lua
            .create_sequence_from(arguments.map(|argument| argument.to_string()))
            .unwrap();
        lua.globals().set("KEYS", keys).unwrap();
        lua.globals().set("ARGV", arguments).unwrap();
        let reply: Vec<f64> = lua.load(SCRIPT).eval().unwrap();
        // Redis truncates numbers to integers.
        reply.into_iter().map(|number| number as i64).collect()
    }
}

#[async_trait]
impl SharedAccounts for SharedState {
    async fn sync(&self, key: &SharedKey, report: &GateReport) -> Result<GateGrant, StoreError> {
        sleep(ROUND_TRIP / 2).await;
        let is_new_server = {
            let mut calls = self.calls.lock().unwrap();
            if calls.is_away {
                return Err(StoreError::Unreachable {
                    place: "redis".to_owned(),
                    message: "away".to_owned(),
                });
            }
            calls.made += 1;
            std::mem::take(&mut calls.is_new_server)
        };
        let reply = self.run(key, report, is_new_server);
        sleep(ROUND_TRIP / 2).await;
        Ok(GateGrant::from_reply(&reply).unwrap())
    }
}

/// Executes the Redis commands that the script uses.
fn answer(lua: &Lua, hashes: &mut Hashes, arguments: &[String], began: Instant) -> mlua::Result<Value> {
    let text = |text: &str| lua.create_string(text).map(Value::String);
    let hash = |hashes: &Hashes, name: &str| hashes.get(arguments[1].as_str())?.get(name).cloned();
    match arguments[0].as_str() {
        "TIME" => {
            let now = Duration::from_secs(1_700_000_000) + began.elapsed();
            let parts = [now.as_secs().to_string(), now.subsec_micros().to_string()];
            lua.create_sequence_from(parts).map(Value::Table)
        }
        "HMGET" => {
            let values: Table = lua.create_table()?;
            for (place, name) in arguments[2..].iter().enumerate() {
                let value = hash(hashes, name).map_or(Ok(Value::Boolean(false)), |value| text(&value))?;
                values.set(place + 1, value)?;
            }
            Ok(Value::Table(values))
        }
        "HSET" => {
            let hash = hashes.entry(arguments[1].clone()).or_default();
            for pair in arguments[2..].chunks(2) {
                hash.insert(pair[0].clone(), pair[1].clone());
            }
            Ok(Value::Integer(1))
        }
        "HGETALL" => {
            let fields = hashes.get(arguments[1].as_str()).into_iter().flatten();
            lua.create_sequence_from(fields.flat_map(|(name, value)| [name.clone(), value.clone()]))
                .map(Value::Table)
        }
        "HDEL" => {
            let hash = hashes.entry(arguments[1].clone()).or_default();
            hash.remove(arguments[2].as_str());
            Ok(Value::Integer(1))
        }
        "EXPIRE" => Ok(Value::Integer(1)),
        other => Err(mlua::Error::runtime(format!("no command {other} here"))),
    }
}
