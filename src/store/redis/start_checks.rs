//! Checks before the first call: a server that would lose outcomes, or refuse them later, is refused now.

use super::connection::{RedisLink, RedisTopology};
use super::expiry::KEPT;
use super::keys::Keys;
use super::rights::StoreUser;
use super::script::PROBE;
use super::url::RedisAddress;
use crate::store::StoreError;
use std::collections::HashMap;
use tracing::warn;

/// Memory that should be free: several times a window of a few thousand tasks with traces of 10 KB.
const ROOM: u64 = 128 << 20;

/// The first version whose scripts may read the clock before they write.
const OLDEST: u64 = 5;

/// Connects and checks what this user needs.
pub(super) async fn checked(
    address: RedisAddress,
    keys: &Keys,
    user: StoreUser,
) -> Result<RedisLink, StoreError> {
    let needed = user.needed(keys.namespace());
    let link = RedisLink::new(address, RedisTopology::Single, needed.clone());
    let info = link.ask(&redis::cmd("INFO")).await;
    let topology = match info {
        Ok(info) => {
            let text: String = redis::from_redis_value(info).map_err(|e| StoreError::Corrupt {
                place: link.address().place.clone(),
                message: format!("INFO did not return text: {e}"),
            })?;
            let about = check_info(&text).map_err(|message| StoreError::Misconfigured {
                place: link.address().place.clone(),
                message,
            })?;
            for warning in &about.warnings {
                warn!(store = link.address().place, "{warning}");
            }
            about.topology
        }
        Err(StoreError::Refused { message, .. }) if message.contains("'info'") => {
            warn!(
                store = link.address().place,
                "this user may not run INFO: eviction and persistence are not checked"
            );
            RedisTopology::Single
        }
        Err(error) => return Err(error),
    };
    let link = match topology {
        RedisTopology::Single => link,
        RedisTopology::Cluster => RedisLink::new(link.address().clone(), RedisTopology::Cluster, needed),
    };
    if topology == RedisTopology::Cluster {
        // The client sends these itself, to check a node and while keys move.
        link.ask(&redis::cmd("PING")).await?;
        link.ask(&redis::cmd("ASKING")).await?;
    }
    let probe = keys.probe(user == StoreUser::Worker);
    let call = PROBE.call(probe.written).number(KEPT.as_secs());
    let call = call.bytes(user.name().as_bytes()).bytes(probe.read.as_bytes());
    link.try_out(call).await?;
    link.is_let_in();
    Ok(link)
}

#[derive(Debug)]
struct About {
    topology: RedisTopology,
    warnings: Vec<String>,
}

/// Checks the output of INFO. The error contains what to change.
fn check_info(info: &str) -> Result<About, String> {
    let fields: HashMap<&str, &str> = info
        .lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .collect();
    let number = |name: &str| {
        fields
            .get(name)
            .and_then(|value| value.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let version = fields.get("redis_version").copied().unwrap_or("unknown");
    if let Some(major) = version
        .split('.')
        .next()
        .and_then(|major| major.parse::<u64>().ok())
        && major < OLDEST
    {
        return Err(format!(
            "it is Redis {version}; version {OLDEST} or newer is needed"
        ));
    }
    if fields.get("role") == Some(&"slave") {
        return Err(format!(
            "it is a replica and rejects writes; use the address of its master ({}:{})",
            fields.get("master_host").unwrap_or(&"?"),
            fields.get("master_port").unwrap_or(&"?"),
        ));
    }
    let policy = fields.get("maxmemory_policy").copied().unwrap_or("noeviction");
    let (limit, used) = (number("maxmemory"), number("used_memory"));
    if limit > 0 && policy != "noeviction" {
        return Err(format!(
            "maxmemory-policy is {policy}: when its memory is full it deletes outcomes before they are read; set \
             `maxmemory-policy noeviction` (CONFIG SET maxmemory-policy noeviction, and in redis.conf), or use another server"
        ));
    }
    let mut warnings = Vec::new();
    let free = limit.saturating_sub(used);
    if limit > 0 && free < ROOM {
        warnings.push(format!(
            "only {} MiB of its maxmemory are free, and tasks wait when it is full; raise maxmemory to {} MiB or more",
            free >> 20,
            (used + ROOM).div_ceil(1 << 20)
        ));
    }
    if fields.get("aof_enabled") == Some(&"0") {
        warnings.push(
            "it has appendonly off: a restart loses its data, and the LM calls are paid again; set `appendonly yes`"
                .to_owned(),
        );
    }
    let topology = match number("cluster_enabled") {
        0 => RedisTopology::Single,
        _ => RedisTopology::Cluster,
    };
    Ok(About { topology, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nused_memory:1000000\r\nmaxmemory:0\r\n\
                         maxmemory_policy:noeviction\r\naof_enabled:1\r\ncluster_enabled:0\r\n";

    #[test]
    fn sound_server_is_accepted_without_warnings() {
        let about = check_info(SOUND).unwrap();
        assert_eq!((about.topology, about.warnings.len()), (RedisTopology::Single, 0));
    }

    #[test]
    fn server_that_would_lose_outcomes_is_refused_with_advice() {
        for (sound, unsound, expected) in [
            ("redis_version:7.0.15", "redis_version:4.0.14", "4.0.14"),
            (
                "role:master",
                "role:slave\r\nmaster_host:db\r\nmaster_port:1",
                "db:1",
            ),
            (
                "maxmemory:0\r\nmaxmemory_policy:noeviction",
                "maxmemory:1\r\nmaxmemory_policy:volatile-lru",
                "maxmemory-policy noeviction",
            ),
        ] {
            let message = check_info(&SOUND.replace(sound, unsound)).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn risky_configuration_is_warned_about() {
        for (sound, unsound, expected) in [
            ("maxmemory:0", "maxmemory:2000000", "maxmemory to 129 MiB"),
            ("aof_enabled:1", "aof_enabled:0", "appendonly"),
        ] {
            let about = check_info(&SOUND.replace(sound, unsound)).unwrap();
            assert!(
                about.warnings.len() == 1 && about.warnings[0].contains(expected),
                "{:?}",
                about.warnings
            );
        }
        // Without a limit on its memory it never evicts.
        check_info(&SOUND.replace("noeviction", "allkeys-lru")).unwrap();
    }
}
