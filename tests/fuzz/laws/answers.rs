//! Answers of providers, as HTTP/1.1 writes them.

use bailiwick_runtime::http1::ResponseReader;
use bytes::Bytes;

/// However the bytes are cut, the same answer comes out of them, and nothing that did not go in. What stands behind it is nobody's.
pub fn answers(bytes: &[u8]) {
    let (bytes, pieces) = super::cut(bytes);
    let (whole, cut) = (read(&[bytes]), read(&pieces));
    for answer in [&whole, &cut].into_iter().flatten() {
        assert!(answer.body.len() <= bytes.len());
        assert!(answer.is_over || !answer.keeps);
    }
    match (whole, cut) {
        (None, None) => {}
        // What breaks off does so further on, in smaller pieces.
        (None, Some(cut)) => assert!(cut.is_broken),
        (Some(whole), Some(cut)) => {
            assert_eq!(
                (whole.status, &whole.headers, whole.is_broken),
                (cut.status, &cut.headers, cut.is_broken)
            );
            assert!(if whole.is_broken { cut.body.starts_with(&whole.body) } else { cut == whole });
        }
        (Some(whole), None) => panic!("an answer with {} is none in pieces", whole.status),
    }
}

#[derive(PartialEq)]
struct Answer {
    status: u16,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    is_over: bool,
    is_broken: bool,
    keeps: bool,
}

/// `None`: no head came, or it is none.
fn read(pieces: &[&[u8]]) -> Option<Answer> {
    let (mut reader, mut begun) = (ResponseReader::new(false), None::<Answer>);
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let Some(answer) = &mut begun else {
            if let Some(head) = reader.take_head(piece).ok()? {
                let status = head.response.status().as_u16();
                let fields = head.response.headers().iter();
                let headers = fields.map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                let body = head.first.to_vec();
                begun =
                    Some(Answer { status, headers, body, is_over: false, is_broken: false, keeps: false });
            }
            continue;
        };
        match reader.take_body(piece) {
            Ok(data) => answer.body.extend(Bytes::into_iter(data)),
            Err(_malformed) => {
                answer.is_broken = true;
                break;
            }
        }
    }
    let mut answer = begun?;
    (answer.is_over, answer.keeps) = (reader.is_over(), reader.keeps() && !answer.is_broken);
    Some(answer)
}
