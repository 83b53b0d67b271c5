//! Requests to `/v1`, and files that are imported over it.

use std::cell::OnceCell;

use pontoon_supernode::fuzz::{self, Api};

thread_local! {
    static API: OnceCell<Api> = const { OnceCell::new() };
}

/// `METHOD target`, lines of headers, an empty line, the content.
pub(crate) fn http(input: &[u8]) {
    let end = input.windows(2).position(|pair| pair == b"\n\n");
    let (head, content) = end.map_or((input, &[][..]), |end| (&input[..end], &input[end + 2..]));
    let Ok(head) = str::from_utf8(head) else { return };
    let mut lines = head.lines();
    let Some((method, target)) = lines.next().and_then(|line| line.split_once(' ')) else { return };
    let headers = lines.filter_map(|line| line.split_once(": "));
    let status = API.with(|api| api.get_or_init(Api::new).ask(method, target, headers, content));
    assert!(status.is_none_or(|status| status != 500), "status 500");
}

/// A byte that says whether it is JSON or CSV, and the file.
pub(crate) fn import(input: &[u8]) {
    let Some((kind, content)) = input.split_first() else { return };
    let Some(asked) = fuzz::import(kind & 1 == 1, content) else { return };
    // What the command line makes of a file the supernode understands, but for names that are none.
    API.with(|api| {
        let headers = [("content-type", "application/json")];
        let status = api.get_or_init(Api::new).ask("POST", "/v1/sql", headers, &asked);
        assert!(matches!(status, Some(400 | 413 | 503)), "{status:?}");
    });
}
