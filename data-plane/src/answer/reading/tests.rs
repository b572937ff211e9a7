use super::*;
use crate::memory::{Budget, Hold};

fn hold(max_held: usize) -> Hold {
    Budget::new(max_held, 1).share().hold()
}

/// Pieces that may go on when so many bytes of an event have come, and not its end; and then its end and another.
fn gone_on(max_held: usize) -> (usize, usize) {
    let mut reader = Reader::of_events(CallType::ChatCompletion, true, hold(max_held));
    let mut ready = VecDeque::new();
    let mut gone = |reader: &mut Reader, piece: Vec<u8>| {
        reader.take(piece.into(), &mut ready);
        ready.drain(..).map(|piece| piece.len()).sum()
    };
    let amid = (0..20).map(|_| gone(&mut reader, vec![b'x'; 10_000])).sum();
    let behind = gone(&mut reader, b"\n\ndata: {\"choices\":[]}\n\ndata: [DONE]\n\n".to_vec());
    assert!(reader.is_done());
    (amid, behind)
}

#[test]
fn an_event_that_there_is_no_room_for_passes_unread() {
    let all = 200_000 + 38;
    let (amid, behind) = gone_on(1 << 20);
    assert_eq!((amid, amid + behind), (0, all), "it is held until it is whole");
    let (amid, behind) = gone_on(64 << 10);
    assert!(amid > 150_000 && amid + behind == all, "{amid}");
}

#[test]
fn usage_is_found_in_an_event_that_is_too_large_to_hold() {
    let picture = "A".repeat(3 << 20);
    let image = format!(
        r#"{{"type":"image_generation.completed","b64_json":"{picture}","usage":{{"input_tokens":7,"output_tokens":5}}}}"#
    );
    let response = format!(
        r#"{{"type":"response.completed","response":{{"output":[{{"type":"image_generation_call","result":"{picture}"}}],"usage":{{"input_tokens":7,"output_tokens":5}}}}}}"#
    );
    for (call_type, data, images) in [(CallType::Image, image, 1), (CallType::Response, response, 0)] {
        let mut reader = Reader::of_events(call_type, false, hold(16 << 20));
        let bytes = format!("event: x\ndata: {data}\n\n").into_bytes();
        let (mut ready, mut gone) = (VecDeque::new(), 0);
        for piece in bytes.chunks(100_001) {
            assert!(!reader.is_done());
            reader.take(Bytes::copy_from_slice(piece), &mut ready);
            gone += ready.drain(..).map(|piece| piece.len()).sum::<usize>();
        }
        assert!(reader.is_done() && gone == bytes.len(), "{call_type:?}");
        let used = reader.used(call_type, &Prompt::Nothing, CallEnd::Completed);
        assert_eq!(used.source, UsageSource::ProviderFinal);
        assert_eq!((used.tokens.prompt, used.tokens.completion, used.media.images), (7, 5, images));
    }
}
