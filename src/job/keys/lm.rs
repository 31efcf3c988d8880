//! `[lm.NAME]`.

use super::FinetuneTable;
use crate::schema::definition::{optional, refused, required};
use crate::schema::form::{Count, Free, List, Number, Sub, Word};
use crate::schema::table::table;

/// Why the job file must not contain a key, and what to write.
const KEY_IN_FILE: (&str, &str) = (
    "puts a key into the file",
    "write `api_key_env = \"OPENAI_API_KEY\"`, the name of a variable, and set that",
);

table! {
    /// A language model: the model, its server, and the arguments of every request.
    pub(in crate::job) struct LmTable {
        /// `openai/NAME` is the model NAME of any OpenAI-compatible server, `hosted_vllm/NAME` the same with vLLM's `max_tokens`,
        /// `simulated/NAME` needs no server.
        model: Word = Word, required("\"openai/gpt-4.1-mini\"");
        /// The server's address up to and without `/chat/completions`.
        api_base: Word = Word, optional("\"http://127.0.0.1:8000/v1\"").default("OpenAI's address");
        /// The name of the environment variable that contains the API key, in every process that calls the LM. A variable that is named here
        /// must be set, whatever the address; `check` reports an unset one.
        api_key_env: Word = Word, optional("\"OPENAI_API_KEY\"")
            .default("`OPENAI_API_KEY` for OpenAI's own address; no key is sent to any other address");
        /// Refused: a key itself must not be in the file.
        api_key: Word = Word, refused(KEY_IN_FILE.0, KEY_IN_FILE.1);
        /// The `[account.NAME]` whose limits its calls count against. LMs of one account share its address and its key.
        account: Word = Word, optional("\"openai\"").default("an account of its own address and key, without declared limits").since("0.2.0");
        /// Several servers of the model, in place of `api_base` and `api_key_env`. Each call goes to the server that is likely to answer
        /// first; one that is away or refuses its key is left out. The answers are the LM's, whichever server gave them, so endpoints may
        /// be added and removed between two starts of a run. A fine-tuned LM is trained and served at its first endpoint.
        endpoints: List<Sub<EndpointTable<'static>>> = List(Sub::new()),
            optional("[{ api_base = \"http://gpu-1:8000/v1\" }, { api_base = \"http://gpu-2:8000/v1\" }]")
            .default("one endpoint, of `api_base` and `api_key_env`").since("0.2.0");
        /// The sampling temperature, from 0. Reasoning models take 1.0 only.
        temperature: Number = Number(0.0, f64::INFINITY), optional("0.7").default("not sent: the server's default");
        /// The most tokens of an answer.
        max_tokens: Count = Count(1), optional("1000").default("not sent: the server's default");
        /// Further arguments, merged into the body of every request.
        extra: Free = Free, optional("{ top_p = 0.9 }").default("none");
        /// The most seconds that one request may take.
        timeout_secs: Number = Number(0.001, 1e6), optional("60").default("600");
        /// The fewest seconds after which a request that takes much longer than the last answers is given up and sent again. With the
        /// value of `timeout_secs` or more, no request is given up earlier than that.
        min_timeout_secs: Number = Number(0.001, 1e6), optional("120").default("30").since("0.2.0");
        /// How often a call may stay without an answer (5xx, a timeout, a broken connection) while other calls of the LM are answered. After
        /// one more its example fails. Rate limits (429) and outages never count.
        num_retries: Count = Count(0), optional("5").default("3, as in DSPy");
        /// Prices for the cost in `plan` and in the summary, in US dollars per million tokens.
        price: Sub<PriceTable<'static>> = Sub::new(), optional("{ input = 2.0, output = 8.0 }").default("unknown: no cost is shown");
        /// How a simulated LM behaves: a `simulated/…` one, and any LM with `compile --rehearse`.
        simulate: Sub<SimulateTable<'static>> = Sub::new(), optional("{ accuracy = 0.9, latency_ms = 300 }");
        /// How the LM is fine-tuned. Required for every LM of the student.
        finetune: Sub<FinetuneTable<'static>> = Sub::new(), optional("{ provider = \"export\" }");
    }
}

table! {
    /// One of several servers of an LM.
    pub(in crate::job) struct EndpointTable {
        /// The server's address up to and without `/chat/completions`.
        api_base: Word = Word, optional("\"http://gpu-1:8000/v1\"").default("OpenAI's address").since("0.2.0");
        /// The name of the environment variable that contains the API key, in every process that calls the LM.
        api_key_env: Word = Word, optional("\"GPU_KEY\"")
            .default("`OPENAI_API_KEY` for OpenAI's own address; no key is sent to any other address").since("0.2.0");
        /// Refused: a key itself must not be in the file.
        api_key: Word = Word, refused(KEY_IN_FILE.0, KEY_IN_FILE.1);
        /// The `[account.NAME]` whose limits its calls count against.
        account: Word = Word, optional("\"openai\"").default("the LM's `account`").since("0.2.0");
    }
}

table! {
    /// Prices in US dollars per million tokens.
    pub(in crate::job) struct PriceTable {
        /// The price of a million prompt tokens.
        input: Number = Number(0.0, 1e9), required("2.0");
        /// The price of a million answer tokens.
        output: Number = Number(0.0, 1e9), required("8.0");
    }
}

table! {
    /// How a simulated LM behaves. Its answers depend on the request and the seed only.
    pub(in crate::job) struct SimulateTable {
        /// The chance that an answer agrees with the labels of the example.
        accuracy: Number = Number(0.0, 1.0), optional("0.9").default("0.8");
        /// The milliseconds that an answer takes.
        latency_ms: Count = Count(0), optional("300").default("0");
        /// The chance that an answer does not parse.
        malformed_rate: Number = Number(0.0, 1.0), optional("0.02").default("0");
        /// The chance that the first try of a request gets 429 or 500.
        error_rate: Number = Number(0.0, 1.0), optional("0.02").default("0");
        /// Another seed gives other answers.
        seed: Count = Count(0), optional("1").default("0");
    }
}
