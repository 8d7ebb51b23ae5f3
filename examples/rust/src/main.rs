//! Rows of a topic, over Arrow Flight SQL: `cargo run -- "SELECT * FROM orders LIMIT 10"`.

use std::{env, error::Error};

use arrow_cast::pretty::print_batches;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use tonic::transport::Endpoint;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::var("CHRONIK").unwrap_or("http://localhost:6092".into());
    let query = env::args().nth(1).unwrap_or("SELECT 42 AS answer".into());

    let mut client = FlightSqlServiceClient::new(Endpoint::new(address)?.connect().await?);
    client.set_header("x-chronik-freshness", "latest"); // or available, cold

    let info = client.execute(query, None).await?;
    for endpoint in info.endpoint {
        let ticket = endpoint.ticket.ok_or("an endpoint without a ticket")?;
        let mut batches = client.do_get(ticket).await?;
        while let Some(batch) = batches.try_next().await? {
            print_batches(&[batch])?; // as they come: an answer may be larger than memory
        }
    }
    Ok(())
}
