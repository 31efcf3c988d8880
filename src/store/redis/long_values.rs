//! Long records and outcomes: in compressed parts under keys of their own, so that neither a command nor its answer is longer than a part.
//! Redis takes no value of more than 512 MB, and the client copies each command several times.
//!
//! The task announces a value before its parts are written, so that all parts are known when the task is trimmed. Where the value would
//! stand is a pointer, which is written last. The names of the parts contain the attempt, so no attempt writes over another's.

use super::long_pointer::{LONGEST, LongPointer, PART_BYTES};
use super::script::LONG;
use super::{KEPT, RedisStore, reply};
use crate::store::StoreError;
use crate::task::{Attempt, AttemptRef, RunId, TaskId};

/// zstd's fastest: answers repeat little, and the worker waits.
const LEVEL: i32 = 1;

/// Keys that are deleted by one command.
const KEYS_PER_DEL: usize = 64;

/// What became of an announcement.
enum Announcement {
    Accepted,
    /// The task has an outcome of this attempt.
    Done,
}

impl RedisStore {
    /// Writes the parts of a record. Returns what stands in its place.
    pub(super) async fn put_long_record(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        slot: u32,
        bytes: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let pointer = LongPointer::new(attempt.attempt, &slot.to_string(), bytes.len());
        match self.announce(run, attempt, &pointer).await? {
            Announcement::Done => Err(StoreError::Fenced(attempt)),
            Announcement::Accepted => {
                self.put_parts(run, attempt.task, &pointer, bytes).await?;
                Ok(pointer.encode())
            }
        }
    }

    /// Writes the parts of an outcome. Returns what stands in its place; `None` if the attempt has stored an outcome already.
    pub(super) async fn put_long_outcome(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        outcome: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let pointer = LongPointer::new(attempt.attempt, "o", outcome.len());
        match self.announce(run, attempt, &pointer).await? {
            Announcement::Done => Ok(None),
            Announcement::Accepted => {
                self.put_parts(run, attempt.task, &pointer, outcome).await?;
                Ok(Some(pointer.encode()))
            }
        }
    }

    /// Writes the parts of a record that no attempt has made. Returns what stands in its place, and how the task announces it.
    pub(super) async fn put_long_import(
        &self,
        run: &RunId,
        task: TaskId,
        slot: u32,
        bytes: &[u8],
    ) -> Result<(Vec<u8>, String), StoreError> {
        let pointer = LongPointer::new(Attempt(0), &slot.to_string(), bytes.len());
        self.put_parts(run, task, &pointer, bytes).await?;
        Ok((pointer.encode(), pointer.announced()))
    }

    async fn announce(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        pointer: &LongPointer,
    ) -> Result<Announcement, StoreError> {
        let call = LONG.call([self.keys.task(run, attempt.task)]);
        let call = call.number(attempt.attempt.0.into());
        let call = call
            .owned(pointer.announced().into_bytes())
            .number(KEPT.as_secs());
        let reply = self.link.run(call).await?;
        match self.read(reply, reply::integer)? {
            0 => Err(StoreError::Fenced(attempt)),
            2 => Ok(Announcement::Done),
            _ => Ok(Announcement::Accepted),
        }
    }

    async fn put_parts(
        &self,
        run: &RunId,
        task: TaskId,
        pointer: &LongPointer,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        for (part, piece) in bytes.chunks(PART_BYTES).enumerate() {
            let compressed = zstd::bulk::compress(piece, LEVEL).map_err(|error| StoreError::Failed {
                place: self.place().to_owned(),
                message: format!("failed to compress a value: {error}"),
            })?;
            self.set(self.keys.long_part(run, task, &pointer.name, part), &compressed)
                .await?;
        }
        Ok(())
    }

    /// The bytes of a record or an outcome, which are `bytes` or behind that pointer. `None` if a part is missing.
    pub(super) async fn resolved(
        &self,
        run: &RunId,
        task: TaskId,
        bytes: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(pointer) = LongPointer::parse(&bytes) else {
            return Ok(Some(bytes));
        };
        let mut whole = Vec::new();
        for part in 0..pointer.parts() {
            let key = self.keys.long_part(run, task, &pointer.name, part);
            let Some(compressed) = self.get(key).await? else {
                return Ok(None);
            };
            // Foreign data may have any length: the limit is one part.
            let piece = zstd::bulk::decompress(&compressed, PART_BYTES);
            let piece = piece.map_err(|_| self.foreign_data())?;
            if whole.is_empty() {
                whole.reserve_exact(pointer.len);
            }
            whole.extend_from_slice(&piece);
        }
        Ok((whole.len() == pointer.len).then_some(whole))
    }

    /// Deletes the parts of a task that was trimmed. `announced` is what it announced, separated by spaces.
    pub(super) async fn delete_long(
        &self,
        run: &RunId,
        task: TaskId,
        announced: &str,
    ) -> Result<(), StoreError> {
        let pointers = announced.split(' ').filter_map(LongPointer::from_announced);
        for pointer in pointers.filter(|pointer| pointer.len <= LONGEST) {
            let parts: Vec<usize> = (0..pointer.parts()).collect();
            for parts in parts.chunks(KEYS_PER_DEL) {
                let mut delete = redis::cmd("DEL");
                for part in parts {
                    delete.arg(self.keys.long_part(run, task, &pointer.name, *part));
                }
                self.link.ask(&delete).await?;
            }
        }
        Ok(())
    }
}
