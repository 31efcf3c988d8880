//! `[account.NAME]`.

use crate::schema::definition::optional;
use crate::schema::form::Count;
use crate::schema::table::table;

table! {
    /// An account at a provider: one address and one key. What is declared here is used in full and never passed; what is not
    /// declared is learnt from the server's answers. At least one limit is required.
    pub(in crate::job) struct AccountTable {
        /// Requests a minute.
        rpm: Count = Count(1), optional("10_000").default("not declared").since("0.2.0");
        /// Tokens a minute, of prompts and answers together.
        tpm: Count = Count(1), optional("2_000_000").default("not declared").since("0.2.0");
        /// Requests a day. Each process counts them from its first request on.
        rpd: Count = Count(1), optional("200_000").default("not declared").since("0.2.0");
        /// Requests in flight, over all LMs of the account in a process.
        concurrent: Count = Count(1), optional("64").default("not declared").since("0.2.0");
    }
}
