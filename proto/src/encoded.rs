//! Messages whose parts are encoded already: on the wire they are what the contract says, and nobody decodes and encodes on the way what was written once.

use prost::bytes::Bytes;
use tonic::{
    Request, Response, Status, Streaming,
    client::Grpc,
    codegen::{http::uri::PathAndQuery, tokio_stream::Stream},
    transport::Channel,
};
use tonic_prost::ProstCodec;

use crate::worker::v1::ReportResponse;

/// [`crate::worker::v1::ReportRequest`], with its events as they are encoded.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReportRequest {
    /// A ULID.
    #[prost(string, tag = "1")]
    pub journal_id: String,
    /// Sequence of the first event.
    #[prost(uint64, tag = "2")]
    pub first_sequence: u64,
    /// 1 to 1000 of [`crate::worker::v1::UsageEvent`].
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub events: Vec<Bytes>,
}

/// `UsageService.Report`.
///
/// # Errors
/// What the server answers, or what became of the connection.
pub async fn report(
    channel: Channel,
    requests: impl Stream<Item = ReportRequest> + Send + 'static,
) -> Result<Response<Streaming<ReportResponse>>, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static("/bailiwick.worker.v1.UsageService/Report");
    client.streaming(Request::new(requests), path, ProstCodec::default()).await
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        raw,
        worker::v1::{self as wire, UsageEvent},
    };

    #[test]
    fn a_report_of_encoded_events_is_a_report() {
        let event = |status| UsageEvent { status, key_id: "key".to_owned(), ..UsageEvent::default() };
        let plain = wire::ReportRequest {
            journal_id: "journal".to_owned(),
            first_sequence: 7,
            events: vec![event(200), event(404)],
        };
        let events = plain.events.iter().map(|event| event.encode_to_vec().into()).collect();
        let encoded = ReportRequest { journal_id: plain.journal_id.clone(), first_sequence: 7, events };
        assert_eq!(encoded.encode_to_vec(), plain.encode_to_vec());
    }

    #[test]
    fn the_method_is_one_of_the_contract() {
        let methods = raw::methods(|service| service == "bailiwick.worker.v1.UsageService").unwrap();
        assert_eq!(methods[0].path, "/bailiwick.worker.v1.UsageService/Report");
    }
}
