//! Rows of a topic, over Arrow Flight SQL:
//!
//!     cargo run -- "SELECT * FROM orders LIMIT 10"
//!     cargo run -- "SELECT * FROM orders WHERE city = ?" Oslo

use std::{env, error::Error, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_cast::pretty::print_batches;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use tonic::transport::Endpoint;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::var("CHRONIK").unwrap_or("localhost:6092".into());
    let mut arguments = env::args().skip(1);
    let query = arguments.next().unwrap_or("SELECT 42 AS answer".into());
    let parameters = arguments.map(|value| {
        (
            "",
            Arc::new(StringArray::from(vec![value])) as ArrayRef,
            true,
        )
    });

    let channel = Endpoint::new(format!("http://{address}"))?
        .connect()
        .await?;
    let mut client = FlightSqlServiceClient::new(channel);
    client.set_header("x-chronik-freshness", "latest"); // or available, cold

    let mut statement = client.prepare(query, None).await?;
    if parameters.len() > 0 {
        statement.set_parameters(RecordBatch::try_from_iter_with_nullable(parameters)?)?;
    }
    for endpoint in statement.execute().await?.endpoint {
        let ticket = endpoint.ticket.ok_or("an endpoint without a ticket")?;
        let mut batches = client.do_get(ticket).await?;
        while let Some(batch) = batches.try_next().await? {
            print_batches(&[batch])?; // as they come: an answer may be larger than memory
        }
    }
    Ok(())
}
