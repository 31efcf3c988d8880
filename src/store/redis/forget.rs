//! Forgets a run: finds its keys, and deletes them in short steps.

use super::rights::FORGET_RIGHTS;
use super::script::{FORGET, HELD, LuaScript};
use super::{RedisStore, reply};
use crate::store::StoreError;
use crate::task::RunId;

/// Keys that the server looks at per step: about a millisecond during which it does nothing else.
const STEP_KEYS: u64 = 512;

impl RedisStore {
    /// The number of the run's tasks whose leases have not expired: workers execute them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] without the right to search for keys.
    pub async fn held_tasks(&self, run: &RunId) -> Result<u64, StoreError> {
        self.in_steps(&HELD, run, &self.keys.tasks(run), &[]).await
    }

    /// Deletes all keys of the run except the lease of its coordinator, which the caller holds, and returns how many there were. What
    /// workers and `status` know the run by comes last, so that it can be interrupted and repeated.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] without the right to search for keys.
    pub async fn forget(&self, run: &RunId) -> Result<u64, StoreError> {
        let known_by = [self.keys.report(run), self.keys.cancelled(run)];
        let stays = [known_by.as_slice(), &[self.keys.leader(run)]].concat();
        let mut deleted = self
            .in_steps(&FORGET, run, &self.keys.of_run(run), &stays)
            .await?;
        for key in known_by {
            let reply = self.link.ask(redis::cmd("DEL").arg(key)).await?;
            deleted += self.read(reply, |reply| u64::try_from(reply::integer(reply)?).ok())?;
        }
        let mut unregister = redis::cmd("HDEL");
        self.link
            .ask(unregister.arg(self.keys.runs()).arg(&run.0))
            .await?;
        Ok(deleted)
    }

    /// Runs the script over all keys with the prefix; the sum of what it returned.
    async fn in_steps(
        &self,
        script: &LuaScript,
        run: &RunId,
        prefix: &str,
        stays: &[String],
    ) -> Result<u64, StoreError> {
        let pattern = format!("{}*", literally(prefix));
        let (mut cursor, mut sum) = (b"0".to_vec(), 0);
        loop {
            // The key names the node of a cluster that has all keys of the run.
            let call = script.call([self.keys.job(run)]);
            let call = call.owned(cursor).bytes(pattern.as_bytes()).number(STEP_KEYS);
            let call = call.bytes(prefix.as_bytes());
            let call = stays.iter().fold(call, |call, key| call.bytes(key.as_bytes()));
            let reply = self.link.run(call).await.map_err(needs_scan)?;
            let number;
            (cursor, number) = self.read(reply, reply::step)?;
            sum += number;
            if cursor == b"0" {
                return Ok(sum);
            }
        }
    }
}

/// A pattern that matches this text only.
fn literally(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// Names the right that no other command needs.
fn needs_scan(error: StoreError) -> StoreError {
    match error {
        StoreError::LockedOut { place, message } | StoreError::Refused { place, message }
            if message.contains("'scan'") =>
        {
            let message =
                format!("the user may not run SCAN, which finds the keys of a run; give it {FORGET_RIGHTS}");
            StoreError::Refused { place, message }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::literally;

    #[test]
    fn literally_escapes_the_special_characters_of_a_pattern() {
        assert_eq!(
            literally("bsft:a.b-c_d:v1:{job-0af3}:"),
            "bsft:a.b-c_d:v1:{job-0af3}:"
        );
        assert_eq!(literally(r"*?[^a]\"), r"\*\?\[\^a\]\\");
    }
}
