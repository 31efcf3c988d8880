//! `limited-lm '{"rpm": 6000, "hint": "retry-after"}' [PORT]`: serves until its standard input ends.
//!
//! It prints the address for `api_base`, and at the end its counters as JSON. `GET /_counts` returns them meanwhile.

use bsft_limited_lm::{LimitedServer, ServerBehaviour};
use std::io::{Read as _, Write as _};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let behaviour: ServerBehaviour = match arguments.next() {
        Some(json) => serde_json::from_str(&json)?,
        None => ServerBehaviour::default(),
    };
    let port = arguments.next().map_or(Ok(0), |port| port.parse::<u16>())?;
    let server = LimitedServer::start_on(port, behaviour)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", server.base())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    writeln!(stdout, "{}", serde_json::to_string(&server.counts())?)?;
    Ok(())
}
