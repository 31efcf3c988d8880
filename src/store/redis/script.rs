//! The store's Lua scripts: each is called by its digest, and sent in full if the server does not know it.

use super::keys::mark;
use crate::task::TaskId;
use redis::{Cmd, Script};
use std::borrow::Cow;
use std::sync::LazyLock;

macro_rules! steps {
    ($($name:ident $file:literal)+) => {$(
        pub(super) static $name: LazyLock<LuaScript> = LazyLock::new(|| {
            LuaScript::new(concat!(include_str!("lua/prelude.lua"), include_str!($file)))
        });
    )+};
}

steps! {
    CLAIM "lua/claim.lua"
    RENEW "lua/renew.lua"
    WAIT "lua/wait.lua"
    RECORD "lua/record.lua"
    FINISH "lua/finish.lua"
    RELEASE "lua/release.lua"
    OUTCOME "lua/outcome.lua"
    TRIM "lua/trim.lua"
    REOPEN "lua/reopen.lua"
    ABANDONED "lua/abandoned.lua"
    ACCOUNT "lua/account.lua"
    LEAD "lua/lead.lua"
    RESIGN "lua/resign.lua"
    SIGN "lua/sign.lua"
    WORKERS "lua/workers.lua"
    IMPORT "lua/import.lua"
    LONG "lua/long.lua"
    KEEP "lua/keep.lua"
    PROBE "lua/probe.lua"
}

pub(super) struct LuaScript {
    source: &'static str,
    digest: String,
}

impl LuaScript {
    fn new(source: &'static str) -> LuaScript {
        LuaScript {
            source,
            digest: Script::new(source).get_hash().to_owned(),
        }
    }

    /// A call of the script. Its keys must share a hash tag.
    pub(super) fn call<'a>(&'a self, keys: impl IntoIterator<Item = String>) -> ScriptCall<'a> {
        ScriptCall {
            step: self,
            keys: keys.into_iter().collect(),
            arguments: Vec::new(),
        }
    }
}

/// A script with keys and arguments.
pub(super) struct ScriptCall<'a> {
    step: &'a LuaScript,
    keys: Vec<String>,
    arguments: Vec<Cow<'a, [u8]>>,
}

impl<'a> ScriptCall<'a> {
    pub(super) fn number(mut self, number: u64) -> ScriptCall<'a> {
        self.arguments.push(number.to_string().into_bytes().into());
        self
    }

    /// The task's mark among the trimmed tasks.
    pub(super) fn mark(mut self, task: TaskId) -> ScriptCall<'a> {
        self.arguments.push(mark(task).to_string().into_bytes().into());
        self
    }

    pub(super) fn owned(mut self, bytes: Vec<u8>) -> ScriptCall<'a> {
        self.arguments.push(bytes.into());
        self
    }

    pub(super) fn bytes(mut self, bytes: &'a [u8]) -> ScriptCall<'a> {
        self.arguments.push(bytes.into());
        self
    }

    /// The command for a server that has the script.
    pub(super) fn by_digest(&self) -> Cmd {
        self.command("EVALSHA", &self.step.digest)
    }

    /// The command with the source, which the server caches.
    pub(super) fn in_full(&self) -> Cmd {
        self.command("EVAL", self.step.source)
    }

    fn command(&self, verb: &str, script: &str) -> Cmd {
        let keys = self.keys.iter().map(|key| key.as_bytes());
        let all = keys.chain(self.arguments.iter().map(|argument| &**argument));
        let parts = 3 + self.keys.len() + self.arguments.len();
        let size = verb.len() + script.len() + all.clone().map(|part| part.len() + 16).sum::<usize>();
        let mut command = Cmd::with_capacity(parts, size);
        command.arg(verb).arg(script).arg(self.keys.len());
        for part in all {
            command.arg(part);
        }
        command
    }
}
