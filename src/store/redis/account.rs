//! The shared state of accounts: one hash each, changed by one script.

use super::script::{ACCOUNT, ScriptCall};
use super::{KEPT, RedisStore, reply};
use crate::account::{GateGrant, GateReport, SharedAccounts, SharedKey};
use crate::store::StoreError;
use async_trait::async_trait;

#[async_trait]
impl SharedAccounts for RedisStore {
    async fn sync(&self, key: &SharedKey, report: &GateReport) -> Result<GateGrant, StoreError> {
        let call = |is_new_server| self.account_call(key, report, is_new_server);
        let reply = self.link.run_or(&call(false), &call(true)).await?;
        self.read(reply, |reply| GateGrant::from_reply(&reply::integers(reply)?))
    }
}

impl RedisStore {
    fn account_call(&self, key: &SharedKey, report: &GateReport, is_new_server: bool) -> ScriptCall<'static> {
        let call = ACCOUNT
            .call([
                self.keys.account(key),
                self.keys.account_gate(key),
                self.keys.account_members(key),
            ])
            .number(is_new_server.into())
            .number(KEPT.as_secs());
        let arguments = report.arguments().into_iter();
        arguments.fold(call, |call, argument| {
            call.owned(argument.to_string().into_bytes())
        })
    }
}
